"""What a Bluetooth station sends: info, nonce, notifications; and what a phone writes to it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

from bleak.backends.device import BLEDevice

from fidoloop.bridge.ble import central, profile
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.protocol import outofband
from fuzz.properties import accepted, text
from fuzz.targets.ctap import script

MAX_BYTES = 8192
DICTIONARY = (b"\x01\x00\x10", b"\x00\x00", b"\x00\x23", b"\x00\x12", b"FL-", b"FL-2345")
_MTU = 247


class _Station:
    """A station that sends what it is told to send: as much of bleak's client as a transfer uses."""

    def __init__(self, info: bytes, nonce: bytes, notifications: list[bytes]) -> None:
        self._values = {profile.INFO: info, profile.NONCE: nonce}
        self._notifications = notifications

    async def read_gatt_char(self, characteristic: str) -> bytearray:
        return bytearray(self._values[characteristic])

    async def start_notify(self, _: str, notified: Callable[[object, bytearray], None]) -> None:
        self._notified = notified

    async def write_gatt_char(self, _: str, value: bytes, *, response: bool) -> None:
        assert profile.decode_offset(value, 1) == 0
        for notification in self._notifications:
            self._notified(None, bytearray(notification))


def check(data: bytes) -> None:
    """Info, nonce and notifications, each after its length in two bytes: what is received is what was announced."""
    pieces = list(_pieces(data))
    info, nonce, *notifications = [*pieces, b"", b""][: max(2, len(pieces))]
    accepted(lambda: asyncio.run(_received(info, nonce, notifications)), MalformedPayloadError)
    read = accepted(lambda: profile.Info.from_bytes(info), MalformedPayloadError)
    if read is not None:
        assert read.to_bytes() == info
        assert 0 < read.length <= outofband.MAX_PAYLOAD_CHARACTERS
    offset = profile.decode_offset(nonce, 100)
    assert offset is None or profile.encode_offset(offset) == nonce
    short_id = profile.short_id_in(text(nonce))
    assert short_id is None or profile.local_name(short_id) == text(nonce)
    accepted(lambda: profile.served_payload(text(data)), MalformedPayloadError)
    _sent_and_received(data)


def _pieces(data: bytes) -> Iterator[bytes]:
    while len(data) >= 2:
        end = 2 + int.from_bytes(data[:2])
        yield data[2:end]
        data = data[end:]


async def _received(info: bytes, nonce: bytes, notifications: list[bytes]) -> bytes | None:
    """Have a phone receive; None where the station stopped too early."""
    device = BLEDevice("00:00:00:00:00:00", None, None)
    transfer = central._Transfer(central.SYSTEM, device, central.Limits())
    client = cast(Any, _Station(info, nonce, notifications))
    announced = await transfer._info_of(client)
    await transfer._nonce_of(client)
    try:
        await transfer._fill(client, announced, _Ending())
    except central._Interrupted:
        return None
    assert len(transfer._buffer) == announced.length
    return bytes(transfer._buffer)


class _Ending(asyncio.Queue[bytes | None]):
    """A queue that tells of the end of the connection once it is empty."""

    async def get(self) -> bytes | None:
        """Return what is next, None where nothing is."""
        return None if self.empty() else self.get_nowait()


def _sent_and_received(payload: bytes) -> None:
    """What a station cuts up is put together again."""
    if not payload:
        return
    chunks, at = [], 0
    while at < len(payload):
        chunks.append(profile.chunk(payload, at, _MTU))
        at += len(chunks[-1]) - 2
    info = profile.Info.of(payload)
    assert asyncio.run(_received(info.to_bytes(), b"", chunks)) == payload
    assert info.matches(payload)


def seeds() -> Iterator[bytes]:
    """Yield whole transfers."""
    payload = outofband.encode_payload({"token": "t", "redeem_url": "https://a.example"}, None).encode()
    info = profile.Info.of(payload).to_bytes()
    chunks = [profile.chunk(payload, at, 53) for at in range(0, len(payload), 48)]
    yield script(info, b"2345", *chunks)
    yield script(info, b"FL-2345", chunks[0], chunks[0])
    yield script(info, b"\0\7", *chunks[1:])
    yield payload
