"""`fidoloop doctor`: what this machine has of what the loop needs, and how to get the rest."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fidoloop.cli.common import Home, Insecure, Json, cell, console, home_directory
from fidoloop.cli.exits import Exit
from fidoloop.doctor.checks import examine
from fidoloop.doctor.values import Finding, Machine, State

_MARKS = {State.OK: "[green]ok[/green]    ", State.NOTE: "[yellow]note[/yellow]  ", State.BROKEN: "[red]broken[/red]"}


def doctor(
    *,
    home: Home = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Hold the clock against this server's; it must answer.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(metavar="PEM", help="The lab CA that the server is trusted by.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port a server of yours is to listen on.")] = 8443,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Look at packages, key hardware, readers, radio, camera, clock and files, and say how to fix what is not right.

    Exit 1 where something that is needed does not work, else 0: a note is about what only some uses need.
    """
    machine = Machine(home_directory(home), server=server, ca=ca, insecure=insecure, port=port)
    terminal = console(stderr=True)
    if terminal.is_terminal:
        with terminal.status("looking") as status:
            found = examine(machine, lambda name: status.update(f"looking at {name}"))
    else:
        found = examine(machine)
    works = all(one.state is not State.BROKEN for one in found)
    if as_json:
        typer.echo(json.dumps({"works": works, "findings": msgspec.to_builtins(found)}))
    else:
        _print(found, works=works)
    if not works:
        raise typer.Exit(Exit.REFUSED)


def _print(found: list[Finding], *, works: bool) -> None:
    shown = console()
    for one in found:
        shown.print(f"{_MARKS[one.state]} [bold]{one.check:9}[/bold] {cell(one.said)}", soft_wrap=True)
        if one.fix:
            shown.print(f"{'':17}[cyan]→ {cell(one.fix)}[/cyan]", soft_wrap=True)
    shown.print("ready: try `fidoloop demo`" if works else "[red]fix what is broken first[/red]", soft_wrap=True)
