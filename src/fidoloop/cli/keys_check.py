"""`fidoloop keys check`: can the loop run on this token, and how fast."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from time import perf_counter
from typing import Annotated

import typer
from rich.table import Column, Table

from fidoloop.authenticator.state import MAC_KEY_ID
from fidoloop.cli.common import Json, cell, console
from fidoloop.cli.exits import Exit
from fidoloop.cli.key_store import Uri, ask_pin, from_hex
from fidoloop.hsm.check import CheckResult, Outcome, check_store, missing_for_loop, unchecked_for_loop
from fidoloop.hsm.open import open_key_store

_COLOURS = {
    Outcome.OK: "green",
    Outcome.NOT_SUPPORTED: "yellow",
    Outcome.FAILED: "red",
    Outcome.NOT_CHECKED: "dim",
}


def check(
    uri: Uri,
    *,
    create: Annotated[
        bool, typer.Option("--create", help="Make keys of every kind, try them and remove them; one at a time.")
    ] = False,
    key_ids: Annotated[
        list[bytes] | None,
        typer.Option("--id", metavar="HEX", parser=from_hex, help="Try this key too, whoever made it. Repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Try on a token everything the loop needs: list, sign, agree on secrets, decrypt, certificates, MAC.

    Without --create nothing on the token is changed, and only what fidoloop's own keys there can do is tried. Others'
    keys are used where --id names them only. Exit 1 if the loop could not run on this token, 3 if it cannot be opened.
    """
    typing = 0.0

    def asked(label: str) -> str:
        nonlocal typing
        began = perf_counter()
        pin = ask_pin(label)
        typing += perf_counter() - began
        return pin

    start = perf_counter()
    with open_key_store(uri, pin_prompt=asked) as store:
        opened = CheckResult("", "open and log in", Outcome.OK, store.uri, perf_counter() - start - typing)
        terminal = console(stderr=True)
        with terminal.status("checking") if terminal.is_terminal else nullcontext() as status:

            def report(result: CheckResult) -> None:
                if status is not None:
                    status.update(f"{cell(result.algorithm)} {cell(result.operation)}: {result.outcome.value}")

            results = (
                opened,
                *check_store(store, mac_key_id=MAC_KEY_ID, create=create, key_ids=key_ids or (), report=report),
            )
    missing, unchecked = missing_for_loop(results), unchecked_for_loop(results)
    if as_json:
        typer.echo(json.dumps(_as_json(results, missing, unchecked)))
    else:
        console().print(_table(results))
        console().print(_verdict(missing, unchecked), soft_wrap=True)
    if missing:
        raise typer.Exit(Exit.REFUSED)


def _as_json(results: Sequence[CheckResult], missing: Sequence[str], unchecked: Sequence[str]) -> dict[str, object]:
    return {
        "can_run": False if missing else None if unchecked else True,
        "missing": list(missing),
        "unchecked": list(unchecked),
        "checks": [
            {
                "algorithm": result.algorithm,
                "operation": result.operation,
                "outcome": result.outcome.value,
                "detail": result.detail,
                "milliseconds": None if result.seconds is None else round(result.seconds * 1000, 3),
                "key": result.key_id,
            }
            for result in results
        ],
    }


def _table(results: Sequence[CheckResult]) -> Table:
    table = Table("algorithm", "operation", "result", "ms", Column("", overflow="fold"))
    for result in results:
        colour = _COLOURS[result.outcome]
        shown = "" if result.seconds is None else f"{result.seconds * 1000:.1f}"
        outcome = f"[{colour}]{result.outcome.value}[/{colour}]"
        table.add_row(result.algorithm, result.operation, outcome, shown, cell(result.detail))
    return table


def _verdict(missing: Sequence[str], unchecked: Sequence[str]) -> str:
    if missing:
        return f"[red]the loop cannot run on this token[/red]: it lacks {'; '.join(missing)}"
    if unchecked:
        return f"nothing found that keeps the loop from running; not checked: {'; '.join(unchecked)} (--create does)"
    return "[green]the loop can run on this token[/green]"
