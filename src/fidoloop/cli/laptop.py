"""`fidoloop laptop`: the laptop that wants somebody logged in."""

import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET
from rich.markup import escape

from fidoloop.bridge.errors import ServerRefusedError
from fidoloop.bridge.http import Server
from fidoloop.bridge.laptop import Dispatched, Laptop, state_of
from fidoloop.bridge.scan import scan_image
from fidoloop.cli.common import Insecure, Json, note, show
from fidoloop.cli.exits import Exit
from fidoloop.protocol import qr
from fidoloop.protocol.outofband import DispatchTargetEntry, StatusResponse
from fidoloop.protocol.strictjson import encode

app = typer.Typer(no_args_is_help=True, help="The laptop: query targets, dispatch a token, follow the status.")


@app.callback()
def laptop() -> None:
    """Ask for a log-in that happens on a phone."""


@app.command()
def login(
    *,
    server: Annotated[str, typer.Option(help="The server's base URL.")],
    user: Annotated[str | None, typer.Option(help="Who logs in; without it the phone decides.")] = None,
    target: Annotated[str | None, typer.Option(help="Name or id of the dispatch target.")] = None,
    dispatcher: Annotated[str, typer.Option(help="png-qr-code, link or link-png-qr-code.")] = "png-qr-code",
    transaction: Annotated[str | None, typer.Option(help="A text to confirm.")] = None,
    policy: Annotated[str | None, typer.Option(help="Name of the server's policy.")] = None,
    png: Annotated[Path | None, typer.Option("--qr", metavar="FILE", help="Write the QR code here, as PNG.")] = None,
    api_key_source: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the API credential; else FIDOLOOP_API_KEY.", exists=True),
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file of the CA to trust.", exists=True)] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the phone.")] = 120.0,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Show a QR code or link for a log-in and wait until the phone has answered."""
    with Server(server, ca=ca, insecure=insecure, api_key=_api_key(api_key_source)) as connection:
        client = Laptop(connection)
        chosen = _choose_target(client, user, target) if user else None
        dispatched = client.dispatch(
            username=user,
            target_id=chosen.id if chosen else None,
            dispatcher=dispatcher,
            policy=policy,
            transaction=transaction,
        )
        _present(dispatched, png)
        final = client.follow(dispatched.session_id, timeout=timeout, on_change=_say_status)
    _finish(final, as_json=as_json)


def _api_key(source: Path | None) -> str | None:
    if source is not None:
        return source.read_text(encoding="utf-8").strip()
    return os.environ.get("FIDOLOOP_API_KEY")


def _choose_target(client: Laptop, user: str, wanted: str | None) -> DispatchTargetEntry | None:
    targets = client.targets(user)
    if wanted is None:
        if len(targets) > 1:
            names = ", ".join(entry.name for entry in targets)
            raise typer.BadParameter(f"several dispatch targets, name one of: {names}", param_hint="--target")
        return targets[0] if targets else None
    found = [entry for entry in targets if wanted in (entry.name, entry.id)]
    if not found:
        raise ServerRefusedError(404, f"{user} has no dispatch target {wanted}")
    return found[0]


def _present(dispatched: Dispatched, path: Path | None) -> None:
    """Show what the phone must read: the link, and the QR code in the terminal or as a PNG file."""
    if "qr" not in dispatched.dispatcher:
        note(dispatched.response)
        return
    if path is None:
        descriptor, name = tempfile.mkstemp(prefix="fidoloop-", suffix=".png")
        os.close(descriptor)
        path = Path(name)
    path.write_bytes(base64.b64decode(dispatched.response))
    lines = qr.half_blocks(scan_image(path))
    if sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns >= len(lines[0]):
        typer.echo("\n".join(lines), err=True)
    note(f"QR code: {path}")


def _say_status(status: StatusResponse) -> None:
    note(f"status: {status.status}")


def _finish(final: StatusResponse, *, as_json: bool) -> None:
    value: dict[str, Any] = json.loads(encode(final))
    keys = ", ".join(f"{entry.aaid} {entry.keyId[:12]}…" for entry in final.authenticators or ())
    outcome = {"succeeded": f"logged in: {final.userId or 'unknown user'} by {keys}", "failed": "failed"}
    text = outcome.get(state_of(final), f"no answer in time, last status {final.status}")
    if state_of(final) == "failed" and final.uafStatusCode is not UNSET:
        text += f" (status {final.uafStatusCode})"
    show(value, escape(text), as_json=as_json)
    if state_of(final) != "succeeded":
        raise typer.Exit(Exit.REFUSED if state_of(final) == "failed" else Exit.USER)
