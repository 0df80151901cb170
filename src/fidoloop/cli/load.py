"""`fidoloop load`: simulated phones and laptops against a server."""

import asyncio
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fidoloop.bridge.load.connection import Endpoint
from fidoloop.bridge.load.flows import Kind
from fidoloop.bridge.load.messages import Job
from fidoloop.bridge.load.phone import software_statement
from fidoloop.bridge.load.processes import divide, run_load
from fidoloop.bridge.load.report import Report
from fidoloop.bridge.load.twice import Twice
from fidoloop.cli.common import Insecure, Json, console, note, printable
from fidoloop.cli.exits import Exit
from fidoloop.cli.keys_metadata import write_statements
from fidoloop.cli.laptop import ApiKeySource, api_key
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.metadata import MetadataStatement

BUSY = 0.9
"""From this share of a core on, a process of the load has no time left to be quicker."""


def load(
    *,
    server: Annotated[
        str | None,
        typer.Option(help="The server's base URL.", show_default="a lab server of its own, on this machine"),
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file of the CA to trust.", exists=True)] = None,
    api_key_source: ApiKeySource = None,
    log_in: Annotated[
        Kind, typer.Option(help="How: a phone on itself, a laptop that shows a token, a passkey.")
    ] = Kind.UAF,
    accounts: Annotated[int, typer.Option(min=1, max=1_000_000, help="Users, each with a phone.")] = 16,
    user_prefix: Annotated[
        str, typer.Option(help="Their names, with 0, 1 … behind it; the server has them.")
    ] = "load-",
    connections: Annotated[
        int, typer.Option(min=1, max=10_000, help="Log-ins at a time, each on a connection of its own.")
    ] = 16,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Processes that make the load.")] = 1,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How long.", show_default="10, or as --count takes")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many log-ins.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Log-ins a second that begin whatever the server does; latencies count from when each was due.",
            show_default="as fast as the server answers",
        ),
    ] = None,
    keys: Annotated[
        str | None, typer.Option(metavar="URI", help="Key store of the phones.", show_default="in memory")
    ] = None,
    twice: Annotated[
        Twice | None, typer.Option(help="Send every request twice: one after the other, or at the same time.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 30.0,
    dispatcher: Annotated[str, typer.Option(help="Of the tokens that laptops show.")] = "png-qr-code",
    policy: Annotated[str | None, typer.Option(help="Name of the server's policy, for enrolment.")] = None,
    facet: Annotated[
        str, typer.Option(metavar="FACETID", help="The phones' FacetID.", show_default="the lab's app")
    ] = LAB_FACET_ID,
    deregister: Annotated[
        bool, typer.Option("--deregister", help="Have the server forget the keys at the end.")
    ] = False,
    metadata: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Only write the phones' metadata, for `server metadata add`."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes of the lab server.")] = 1,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Enrol simulated phones and log them in, as many as go or at a rate; print log-ins a second, latencies, errors.

    Ctrl-C ends it early, with the report. Exit code 0 only if every log-in succeeded. docs/load.md.
    """
    connections = min(connections, accounts)
    if processes > connections:
        raise typer.BadParameter("each process needs a connection and an account", param_hint="--processes")
    if deregister and log_in is Kind.FIDO2:
        raise typer.BadParameter("passkeys are removed at the server: `server passkey`", param_hint="--deregister")
    if metadata is not None:
        for path in write_statements([_statement(keys)], metadata):
            typer.echo(str(path))
        return
    job = Job(
        server=server or "",
        usernames=tuple(f"{user_prefix}{number}" for number in range(accounts)),
        ca=None if ca is None else str(ca),
        insecure=insecure,
        api_key=api_key(api_key_source),
        kind=log_in,
        dispatcher=dispatcher,
        policy=policy,
        facet_id=facet,
        connections=connections,
        seconds=10.0 if seconds is None and count is None else seconds,
        count=count,
        rate=rate,
        timeout=timeout,
        twice=twice,
        keys=keys,
        pin=None if keys is None else _pin(keys),
        deregister=deregister,
    )
    if server is not None:
        Endpoint.of(server, ca=ca, insecure=insecure)
        report = _run(job, processes, quiet=as_json)
    else:
        with _lab(job, workers) as at_lab:
            report = _run(at_lab, processes, quiet=as_json)
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        _show(report)
    if not report.good:
        raise typer.Exit(Exit.REFUSED)


def _pin(uri: str) -> str | None:
    """Return the PIN that each process opens the token with. Raises KeyStoreError: it does not open."""
    from fidoloop.cli.key_store import ask_secret
    from fidoloop.hsm.open import open_key_store, parse_key_store_uri

    asked: list[str] = []

    def ask(label: str) -> str:
        asked.append(ask_secret(f"PIN of token {label!r}", "FIDOLOOP_PIN", help_text="give pin-source in the URI or "))
        return asked[0]

    with open_key_store(uri, pin_prompt=ask):
        return asked[0] if asked else parse_key_store_uri(uri).pin()


def _statement(keys: str | None) -> MetadataStatement:
    if keys is None:
        return software_statement()
    from fidoloop.authenticator.models import metadata_statement
    from fidoloop.bridge.load.keys import token_model
    from fidoloop.cli.key_store import open_store

    with open_store(keys) as store:
        return metadata_statement(token_model(store), ())


@contextmanager
def _lab(job: Job, workers: int) -> Iterator[Job]:
    """Run a lab server that knows the users and the phones' model."""
    from fidoloop.lab import LabServer
    from fidoloop.server.settings.layers import FILE_NAME

    with tempfile.TemporaryDirectory(prefix="fidoloop-") as directory:
        lab = LabServer(Path(directory))
        (lab.home / FILE_NAME).write_text(f"[server]\nworkers = {workers}\n", encoding="utf-8")
        lab.add_metadata([_statement(job.keys)])
        lab.add_user(*job.usernames)
        key = lab.add_api_key()
        with lab:
            note(f"lab server {lab.url}, SQLite, {workers} {'worker' if workers == 1 else 'workers'}")
            yield msgspec.structs.replace(job, server=lab.url, ca=str(lab.ca), api_key=key)


def _run(job: Job, processes: int, *, quiet: bool) -> Report:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console(stderr=True), transient=True, disable=quiet) as shown:
        return asyncio.run(_run_and_show(job, processes, shown))


async def _run_and_show(job: Job, processes: int, shown: Progress) -> Report:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    tasks: dict[str, Any] = {}
    totals = {"enrol": len(job.usernames), "run": job.count, "deregister": len(job.usernames)}

    def on_progress(phase: str, done: int, failed: int) -> None:
        if phase not in tasks:
            if not shown.console.is_terminal:
                note(_PHASES[phase])
            tasks[phase] = shown.add_task(_PHASES[phase], total=totals[phase], said="")
        said = f"{done:,}" + (f", {failed:,} failed" if failed else "")
        shown.update(tasks[phase], completed=done + failed, said=said)

    return await run_load(divide(job, processes), stop=stop, on_progress=on_progress)


_PHASES = {"enrol": "enrolling", "run": "logging in", "deregister": "deregistering"}


def _show(report: Report) -> None:
    out = console()
    ended = ", ended early" if report.interrupted else ""
    out.print(
        f"{report.per_second:,.1f} log-ins/s: {report.succeeded:,} in {report.seconds:,.1f} s{ended}", markup=False
    )
    out.print(
        f"accounts {report.accounts:,}, connections {report.connections:,}, processes {report.processes:,}"
        + (f", {report.rate:,.1f}/s wanted" if report.rate is not None else ""),
        markup=False,
    )
    _show_latencies("latency", report.latency)
    if report.rate is not None:
        _show_latencies("duration", report.duration)
    for each in report.errors:
        out.print(f"failed     {each.count:>8,}  {each.service}: {printable(each.first)}", markup=False)
    if report.unbegun:
        out.print(f"not begun  {report.unbegun:>8,}  due, and no connection was free", markup=False)
    if report.twice is not None:
        for each in report.twice.outcomes:
            out.print(f"repeated   {each.count:>8,}  {each.service}: {each.kind}", markup=False)
        out.print(f"accepted twice {report.twice.accepted_twice:>4,}", markup=False)
    for each in report.not_deregistered:
        out.print(f"not deregistered {each.count:,}  {each.service}: {each.kind}", markup=False)
    if max(report.client_cpu, default=0.0) > BUSY:
        out.print("the load took all of its cores: the figures are its own, not the server's; more --processes")


def _show_latencies(name: str, found: dict[str, float]) -> None:
    text = "  ".join(f"{share} {millis:,.1f}" for share, millis in found.items())
    console().print(f"{name:<9}  {text}  ms", markup=False)
