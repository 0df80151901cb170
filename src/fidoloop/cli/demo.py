"""`fidoloop demo`: the thirteen steps, live."""

import datetime
import json
import os
import secrets
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.models import token_statements
from fidoloop.cli.common import Json, Verification, answer, interactive, print_hanging
from fidoloop.cli.demo_drawing import NARROWEST, arrow, head
from fidoloop.cli.demo_oauth import run_oauth
from fidoloop.cli.exits import Exit
from fidoloop.demo import Demo, Flow, Report, Step
from fidoloop.hsm.errors import PinRequired
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store, parse_key_store_uri
from fidoloop.lab import LabServer
from fidoloop.softhsm import make_softhsm_token

_BESIDE_NUMBER = " " * 5


def demo(
    *,
    keys: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Run on this token instead of a SoftHSM token made for the run."),
    ] = None,
    oauth: Annotated[
        bool, typer.Option("--oauth", help="Run the OAuth walk instead: ten steps, message by message.")
    ] = False,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root",
            metavar="PEM",
            help="With --oauth: what vouches for the token's device. Repeatable.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="The pages for a browser instead; this terminal is the phone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the whole loop: registration, a log-in in thirteen steps, a transaction confirmation, a deregistration.

    On a terminal of 80 columns or more every message is drawn as it travels.
    Exit code 0 only if the server says `succeeded`.
    """
    if root and not oauth:
        raise typer.BadParameter("is for --oauth", param_hint="--root")
    if web and (as_json or oauth):
        raise typer.BadParameter("a demonstration in a browser has no record and no other walk", param_hint="--web")
    console = Console(highlight=False, quiet=as_json, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="fidoloop-") as directory:
        place = Path(directory)
        pin = _pin(keys) if keys else f"{secrets.randbelow(10**8):08}"
        uri = keys or make_softhsm_token(place / "softhsm", "fidoloop demo", pin, secrets.token_hex(8))
        with open_key_store(uri, pin=pin) as store:
            if oauth:
                run_oauth(store, place / "home", console, uri=uri, pin=pin, roots=root or (), as_json=as_json)
                return
            if web:
                from fidoloop.cli.demo_web import run_web_demo

                run_web_demo(store, place, uri, console)
                return
            report = _run(store, place / "home", uri, pin, console)
    if as_json:
        result = "succeeded" if report.succeeded else "failed"
        steps = [{"n": step.n, "name": step.name, "ms": step.ms} for step in report.steps]
        exchanges = [msgspec.structs.asdict(exchange) for exchange in report.exchanges]
        typer.echo(json.dumps({"result": result, "steps": steps, "exchanges": exchanges}))
    if not report.succeeded:
        raise typer.Exit(Exit.REFUSED)


def _pin(uri: str) -> str:
    """Return the PIN that the demo's user types: of the URI, the environment, or the person at the terminal."""
    found = parse_key_store_uri(uri).pin() or os.environ.get("FIDOLOOP_PIN")
    if found:
        return found
    typed = answer(lambda: str(typer.prompt("PIN of the token", hide_input=True, err=True))) if interactive() else None
    if typed is None:
        raise PinRequired("the token wants a PIN: give pin-source in the URI or set FIDOLOOP_PIN")
    return typed


def _run(store: KeyStore, home: Path, uri: str, pin: str, console: Console) -> Report:
    token = store.info()
    lab = LabServer(home)
    attest_init(store, now=datetime.datetime.now(datetime.UTC))
    lab.add_metadata(token_statements(store, Verification.PIN.method))
    with lab:
        kind = "hardware" if token.hardware else "software"
        print_hanging(console, "server  ", f"{lab.url}, lab TLS, SQLite")
        keys = f"keys in {escape(token.label.strip())} ({escape(token.model.strip())}, {kind})"
        print_hanging(console, "phone   ", keys)
        print_hanging(console, "laptop  ", "shows a QR code, follows the status")
        console.print()
        drawn = console.is_terminal and console.width >= NARROWEST
        if drawn:
            console.print(head(console.width))
        report = Demo(
            store,
            lab,
            keys_uri=uri,
            pin=pin,
            say_step=lambda step: say_step(console, step),
            say_flow=lambda flow: _say_flow(console, flow),
            say_message=lambda message: console.print(arrow(message, console.width)) if drawn else None,
        ).run()
    outcome = "[green]succeeded[/green]" if report.succeeded else "[red]failed[/red]"
    signed = sum(flow.name != "deregistration" for flow in report.flows)
    console.print()
    print_hanging(
        console,
        "",
        f"{outcome}: {len(report.steps)} steps, {len(report.flows)} operations, {signed} signatures made in the token"
        f" and verified, {len(report.exchanges)} HTTP exchanges",
    )
    return report


def say_step(console: Console, step: Step) -> None:
    """Print a step: its number, name and time, and under it what travelled."""
    print_hanging(console, f"{step.n:>3}  ", f"{step.name}  [dim]{step.ms:.1f} ms[/dim]")
    print_hanging(console, _BESIDE_NUMBER, f"[cyan]{escape(step.detail)}[/cyan]")


def _say_flow(console: Console, flow: Flow) -> None:
    colour = "green" if flow.status == "succeeded" else "red"
    outcome = f"[{colour}]{flow.name}: {flow.status}[/{colour}]  [dim]{flow.ms:.0f} ms[/dim]"
    print_hanging(console, _BESIDE_NUMBER, f"{outcome}  {escape(flow.detail)}")
