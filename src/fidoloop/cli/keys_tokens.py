"""`fidoloop keys tokens`: what key hardware this machine has."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fidoloop.cli.common import Json, cell, console
from fidoloop.hsm.discovery import Discovered, discover
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.piv.discovery import FoundCard, find_cards
from fidoloop.hsm.pkcs11.installed import InstalledModule, installed_modules
from fidoloop.hsm.pkcs11.probe import PROBE_SECONDS, SlotFound, TokenFound


def tokens(
    *,
    module: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Look into this PKCS#11 module instead of all; may be given several times."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long each module may take.")
    ] = PROBE_SECONDS,
    as_json: Json = False,
) -> None:
    """List PKCS#11 modules with their tokens, and readers with their PIV cards, each with the URI to use it by.

    Modules are those p11-kit is configured with, and well-known files. A module that crashes or hangs hides no other.
    """
    wanted = [InstalledModule(str(path.resolve())) for path in module] if module else installed_modules()
    terminal = console(stderr=True)
    with terminal.status("looking into modules and readers") if terminal.is_terminal else nullcontext():
        found = discover(wanted, seconds=seconds)
        cards, no_cards = ([], "") if module else _cards()
    if as_json:
        listed = {"modules": [_as_json(one) for one in found], "readers": [_card_as_json(one) for one in cards]}
        typer.echo(json.dumps({**listed, "pcsc": no_cards or None}))
        return
    shown = console()
    for one in found:
        _print(shown, one)
    if not found:
        shown.print("no PKCS#11 modules")
    for card in cards:
        _print_card(shown, card)
    if no_cards:
        shown.print(f"[bold]PC/SC[/bold]  [dim]{cell(no_cards)}[/dim] (`fidoloop doctor` looks closer)", soft_wrap=True)


def _cards() -> tuple[list[FoundCard], str]:
    """Return the readers and their cards, or why there are none to be seen."""
    try:
        return find_cards(), ""
    except KeyStoreError as error:
        return [], str(error)


def _print_card(shown: Console, one: FoundCard) -> None:
    shown.print(f"[bold]{cell(one.reader)}[/bold]  a PC/SC reader", soft_wrap=True)
    identity = one.identity
    if identity is None:
        shown.print(f"  [dim]{cell(one.problem)}[/dim]", soft_wrap=True)
        return
    serial = f", serial {identity.serial}" if identity.serial else ""
    shown.print(f"  {cell(identity.label or 'PIV card')}: piv{cell(serial)}", soft_wrap=True)
    shown.print(f"    [cyan]{cell(one.uri)}[/cyan]", soft_wrap=True)


def _card_as_json(one: FoundCard) -> dict[str, Any]:
    identity = one.identity
    card = None
    if identity is not None:
        card = {"uri": one.uri, "label": identity.label, "serial": identity.serial, "version": identity.version}
    return {"reader": one.reader, "error": one.problem or None, "card": card}


def _print(shown: Console, one: Discovered) -> None:
    found = one.found
    about = f"{found.description} {found.version}".strip() if not found.error else f"[red]{cell(found.error)}[/red]"
    shown.print(f"[bold]{cell(one.installed.path)}[/bold]  {about if found.error else cell(about)}", soft_wrap=True)
    for slot in found.slots:
        if slot.token is None:
            shown.print(f"  {cell(slot.description)}: [dim]{cell(slot.error or 'no token')}[/dim]", soft_wrap=True)
            continue
        token = slot.token
        facts = [token.kind, "hardware" if token.hardware else "no hardware", *_obstacles(token)]
        shown.print(f"  {cell(token.label or slot.description)}: {cell(', '.join(facts))}", soft_wrap=True)
        if token.usable:
            shown.print(f"    [cyan]{cell(one.uri(token))}[/cyan]", soft_wrap=True)


def _obstacles(token: TokenFound) -> list[str]:
    said = [token.state] if token.state else []
    if not token.signs:
        said.append("no ECDSA")
    return [*said, "PIN pad"] if token.pin_pad else said


def _as_json(one: Discovered) -> dict[str, Any]:
    found = one.found
    return {
        "path": one.installed.path,
        "name": one.installed.name,
        "description": found.description,
        "manufacturer": found.manufacturer,
        "version": found.version,
        "error": found.error or None,
        "slots": [_slot_as_json(one, slot) for slot in found.slots],
    }


def _slot_as_json(one: Discovered, slot: SlotFound) -> dict[str, Any]:
    token = slot.token
    described = None
    if token is not None:
        described = {
            "uri": one.uri(token) if token.usable else None,
            "kind": token.kind,
            "label": token.label,
            "manufacturer": token.manufacturer,
            "model": token.model,
            "serial": token.serial,
            "hardware": token.hardware,
            "pin_pad": token.pin_pad,
            "signs": token.signs,
            "state": token.state,
        }
    return {"id": slot.slot_id, "description": slot.description, "error": slot.error or None, "token": described}
