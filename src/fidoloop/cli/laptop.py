"""`fidoloop laptop`: the laptop that wants somebody logged in."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET

from fidoloop.bridge import qr_images
from fidoloop.bridge.ble.profile import served_payload
from fidoloop.bridge.errors import ServerRefusedError
from fidoloop.bridge.http import Server
from fidoloop.bridge.laptop import Dispatched, Laptop, state_of
from fidoloop.cli import ble
from fidoloop.cli.common import Insecure, Json, cell, note, show
from fidoloop.cli.exits import CLIENT_ERRORS, Exit
from fidoloop.cli.private_files import write_private
from fidoloop.protocol import base64url, qr
from fidoloop.protocol.outofband import DispatchTargetEntry, StatusResponse
from fidoloop.protocol.strictjson import encode
from fidoloop.protocol.uaf.status import ClientError

_QR = "png-qr-code"
_BLE = "ble"
_SHOWN = frozenset({_QR, "link", "link-png-qr-code"})
"""Dispatchers whose answer the laptop shows."""

ApiKeySource = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File with the API credential; else FIDOLOOP_API_KEY.", exists=True),
]

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
    dispatcher: Annotated[
        list[str] | None,
        typer.Option(
            help="How the token goes out; more than once for several ways, as web-push and png-qr-code.",
            show_default="the target's own push, with png-qr-code beside it",
        ),
    ] = None,
    transaction: Annotated[str | None, typer.Option(help="A text to confirm.")] = None,
    policy: Annotated[str | None, typer.Option(help="Name of the server's policy.")] = None,
    png: Annotated[Path | None, typer.Option("--qr", metavar="FILE", help="Write the QR code here, as PNG.")] = None,
    number: Annotated[
        bool, typer.Option("--number", help="Show a number that the phone's user must type: nobody approves by habit.")
    ] = False,
    by_ble: Annotated[
        bool,
        typer.Option("--ble", help="Serve the token by Bluetooth, to a phone that must be near to answer."),
    ] = False,
    radio: ble.StationRadio = "usb:0",
    api_key_source: ApiKeySource = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file of the CA to trust.", exists=True)] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the phone.")] = 120.0,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Show a QR code or link for a log-in, or have it pushed, and wait until the phone has answered."""
    if number and by_ble:
        raise typer.BadParameter("either --number or --ble: a token is answered once")
    if by_ble and user is None:
        raise typer.BadParameter("--ble needs --user: the token is encrypted to that user's phone")
    linked_by = "number" if number else "ble" if by_ble else None
    with Server(server, ca=ca, insecure=insecure, api_key=api_key(api_key_source)) as connection:
        client = Laptop(connection)
        chosen = _choose_target(client, user, target) if user else None
        sent = client.dispatch_by_all(
            dispatcher or ([_BLE] if by_ble else _usual_dispatchers(chosen)),
            on_failure=_say_failure,
            username=user,
            target_id=chosen.id if chosen else None,
            policy=policy,
            transaction=transaction,
            information={"channelLinking": {"mode": linked_by}} if linked_by else None,
        )
        if sent[0].linking is not None and number:
            note(f"number to type on the phone: {sent[0].linking.content}")
        with ExitStack() as shown:
            for dispatched in sent:
                shown.enter_context(_presented(dispatched, png, radio))
            final = client.follow(sent[0].session_id, timeout=timeout, on_change=_say_status)
    _finish(final, as_json=as_json)


def _usual_dispatchers(target: DispatchTargetEntry | None) -> tuple[str, ...]:
    """Return how a token goes out where nobody says how: pushes get lost, so a QR code goes with them."""
    own = (target.dispatcher or None) if target else None
    return (_QR,) if own is None or own in _SHOWN else (own, _QR)


def _say_failure(dispatcher: str, error: ServerRefusedError) -> None:
    note(f"{dispatcher}: {error}")


@app.command("serve-ble")
def serve_ble(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="What a dispatch by `ble` answered, or its payload; - for standard input."
        ),
    ],
    *,
    radio: ble.StationRadio = "usb:0",
    timeout: Annotated[float, typer.Option(help="Seconds to serve it.")] = 120.0,
) -> None:
    """Serve a token that was dispatched elsewhere by Bluetooth, until Ctrl-C or the time is over."""
    text = sys.stdin.read(ble.MAX_SOURCE_CHARACTERS + 1) if source == "-" else source
    payload, nonce = ble.parse_dispatch(text)
    with ble.serving(payload, nonce=nonce, transport=radio), suppress(KeyboardInterrupt):
        time.sleep(timeout)


def api_key(source: Path | None) -> str | None:
    """Return the API credential: a file's, else the environment's."""
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


@contextmanager
def _presented(dispatched: Dispatched, path: Path | None, radio: str) -> Iterator[None]:
    """Show what the phone must read: the link, or the QR code in the terminal and as a PNG file; or serve it by BLE.

    A file that nobody asked for goes with the log-in.
    """
    if dispatched.dispatcher == _BLE:
        nonce = dispatched.linking.content if dispatched.linking else None
        with ble.serving(served_payload(dispatched.response), nonce=nonce, transport=radio):
            yield
        return
    if "qr" not in dispatched.dispatcher:
        # A link stands alone on its line, where a script finds it.
        alone = dispatched.dispatcher in _SHOWN
        note(dispatched.response if alone else f"{dispatched.dispatcher}: {dispatched.response}")
        yield
        return
    png = base64url.decode_lenient(dispatched.response, "$.dispatcherInformation.response")
    with tempfile.TemporaryDirectory(prefix="fidoloop-") as directory:
        shown = path or Path(directory) / "login.png"
        _write_whole(shown, png)
        (text,) = qr_images.read_file(shown)
        lines = qr.half_blocks(text)
        if sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns >= len(lines[0]):
            typer.echo("\n".join(lines), err=True)
        note(f"QR code: {shown}")
        yield


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that whoever waits for it never sees half of it, and nobody else any of it."""
    try:
        write_private(path, content)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="--qr") from None


def _say_status(status: StatusResponse) -> None:
    note(f"status: {status.status}")


def _finish(final: StatusResponse, *, as_json: bool) -> None:
    value: dict[str, Any] = json.loads(encode(final))
    show(value, cell(_outcome(final)), as_json=as_json)
    code = _exit_code(final)
    if code is not Exit.OK:
        raise typer.Exit(code)


def _outcome(final: StatusResponse) -> str:
    state = state_of(final)
    if state == "open":
        return f"no answer in time, last status {final.status}"
    if state == "succeeded":
        keys = ", ".join(f"{entry.aaid} {entry.keyId[:12]}…" for entry in final.authenticators or ())
        return f"logged in: {final.userId or 'unknown user'} by {keys}"
    reasons = [] if final.uafStatusCode is UNSET else [f"status {final.uafStatusCode}"]
    client_error = _client_error(final)
    if client_error is not None:
        reasons.append(f"the phone said {client_error.name}")
    return f"failed ({', '.join(reasons)})" if reasons else f"failed: the session is {final.status}"


def _exit_code(final: StatusResponse) -> Exit:
    state = state_of(final)
    if state == "failed":
        # The phone's device is no concern of this side; that its user said no is.
        client_error = _client_error(final)
        said_no = client_error is not None and CLIENT_ERRORS.get(client_error) is Exit.USER
        return Exit.USER if said_no else Exit.REFUSED
    return Exit.OK if state == "succeeded" else Exit.USER


def _client_error(final: StatusResponse) -> ClientError | None:
    known = {int(error): error for error in ClientError}
    return None if final.clientErrorCode is UNSET else known.get(final.clientErrorCode)
