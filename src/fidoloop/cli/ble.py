"""Bluetooth LE for the commands: options, and the extra that it needs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from fidoloop.bridge.ble import profile
from fidoloop.bridge.errors import MalformedPayloadError, NotInstalledError
from fidoloop.cli.common import answer, interactive, note, printable
from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import MAX_PAYLOAD_CHARACTERS, DispatchResponse

if TYPE_CHECKING:
    from fidoloop.bridge.ble.central import Received

MAX_SOURCE_CHARACTERS = 2 * MAX_PAYLOAD_CHARACTERS
_MISSING = "Bluetooth needs bleak and bumble: pip install 'fidoloop[ble]'"

StationRadio = Annotated[
    str,
    typer.Option("--hci", metavar="TRANSPORT", help="The station's radio: usb:0, serial:…, tcp-client:… as in bumble."),
]
PhoneRadio = Annotated[
    str | None,
    typer.Option("--hci", metavar="TRANSPORT", help="A radio of its own, not the system's Bluetooth: usb:0, …"),
]
StationId = Annotated[str | None, typer.Option("--station", metavar="ID", help="The short id that the laptop shows.")]


@contextmanager
def serving(payload: bytes, *, nonce: str | None, transport: str) -> Iterator[None]:
    """Serve `payload` while the block runs, and show the station's short id. Raises BridgeError."""
    try:
        from fidoloop.bridge.ble.blocking import serving as serving_by_radio
    except ImportError:
        raise NotInstalledError(_MISSING) from None
    with serving_by_radio(payload, nonce=nonce, transport=transport) as short_id:
        note(f"station: {short_id}")
        yield


def read_token(*, transport: str | None, station: str | None) -> "Received":
    """Return what the station in range serves; somebody at the terminal chooses of several. Raises BridgeError."""
    try:
        from fidoloop.bridge.ble.blocking import read_token as read_by_radio
    except ImportError:
        raise NotInstalledError(_MISSING) from None
    note(f"looking for {f'the laptop {station}' if station else 'laptops'} in range")
    return read_by_radio(
        transport=transport,
        short_id=station.strip().upper() if station else None,
        choose=_choose if interactive() else None,
    )


def parse_dispatch(text: str) -> tuple[bytes, str | None]:
    """Return payload and nonce of what the server answered to a dispatch, or of a payload alone.

    Raises:
        MalformedPayloadError: it is neither, or not encrypted.
    """
    if len(text) > MAX_SOURCE_CHARACTERS:
        raise MalformedPayloadError(f"more than {MAX_SOURCE_CHARACTERS} characters")
    try:
        answer = strictjson.decode(text, DispatchResponse)
    except MalformedError:
        return profile.served_payload(text), None
    if not answer.dispatcherInformation:
        raise MalformedPayloadError(f"nothing was dispatched: {printable(answer.dispatchResult)}")
    linking = answer.channelLinking or None
    nonce = linking.content if linking is not None and linking.mode == "ble" else None
    return profile.served_payload(answer.dispatcherInformation.response), nonce


def _choose(short_ids: Sequence[str]) -> int | None:
    typed = answer(lambda: typer.prompt(f"Which laptop ({', '.join(short_ids)})?", type=str, err=True))
    chosen = (typed or "").strip().upper()
    return short_ids.index(chosen) if chosen in short_ids else None
