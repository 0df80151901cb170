"""The phone's side: finds the laptops' stations by bleak, and reads what one serves (docs/ble.md)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakBluetoothNotAvailableError, BleakError

from fidoloop.bridge.ble import profile
from fidoloop.bridge.errors import DeviceMissingError, MalformedPayloadError, StationError

Chooser = Callable[[Sequence[str]], int | None]
"""Asked which of several stations is meant, given their short ids; returns its index or None."""


class Adapter(NamedTuple):
    """How bleak reaches a radio: keyword arguments of BleakScanner and of BleakClient."""

    scanner: dict[str, Any]
    client: dict[str, Any]


SYSTEM = Adapter({}, {})
"""The operating system's Bluetooth."""


class Limits(msgspec.Struct, frozen=True):
    """How long things may take, in seconds, and how often a transfer is taken up again."""

    find: float = 20.0
    settle: float = 1.5
    """After the first station: what else is in range, or pretends to be the same, has shown itself by then."""
    connect: float = 10.0
    step: float = 5.0
    """For a read, a write, or the next notification."""
    total: float = 60.0
    connections: int = 4


class Received(msgspec.Struct, frozen=True):
    """What a station served: the payload's JSON text, and its nonce where the dispatch is linked by BLE.

    `connections` is how many it took.
    """

    payload: str
    nonce: str | None
    connections: int


class Found(NamedTuple):
    """A station in range."""

    short_id: str
    device: BLEDevice


class _Interrupted(Exception):
    """The transfer broke off; another connection may carry on."""


async def find(
    adapter: Adapter, *, short_id: str | None = None, choose: Chooser | None = None, limits: Limits | None = None
) -> Found:
    """Return the station in range called `short_id`, or the only one; `choose` is asked where there are several.

    Raises:
        StationError: none, several and none chosen, or two of one short id, one of which is not the laptop before you.
        DeviceMissingError: there is no Bluetooth.
    """
    limits = limits or Limits()
    stations = [one for one in await _scan(adapter, short_id, limits) if short_id in (None, one.short_id)]
    if not stations:
        called = f" called {short_id}" if short_id else ""
        raise StationError(f"no laptop{called} was found within {limits.find:g} s")
    names = sorted(one.short_id for one in stations)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise StationError(f"two stations call themselves {', '.join(sorted(twice))}: cancel, and begin anew")
    chosen = 0 if len(stations) == 1 else choose(names) if choose is not None else None
    if chosen is None:
        raise StationError(f"several laptops are in range, name one of: {', '.join(names)}")
    return next(one for one in stations if one.short_id == names[chosen])


async def receive(adapter: Adapter, station: BLEDevice, *, limits: Limits | None = None) -> Received:
    """Return what `station` serves; a connection that breaks off or stalls is made again, and the transfer goes on.

    Raises:
        StationError: it stalls or hangs up too often, or the time is over.
        MalformedPayloadError: what it serves is none of this profile: too long, out of order, or not what it announced.
    """
    limits = limits or Limits()
    transfer = _Transfer(adapter, station, limits)
    reason = "the time is over"
    try:
        async with asyncio.timeout(limits.total):
            for number in range(1, limits.connections + 1):
                try:
                    payload, nonce = await transfer.go_on()
                    return Received(payload, nonce, number)
                except _Interrupted as interrupted:
                    reason = str(interrupted)
    except TimeoutError:
        reason = f"not done in {limits.total:g} s ({reason})"
    raise StationError(f"the laptop's station did not send the token: {reason}; {transfer.progress()}")


class _Transfer:
    """One payload on its way, over as many connections as it takes."""

    def __init__(self, adapter: Adapter, station: BLEDevice, limits: Limits) -> None:
        self._adapter = adapter
        self._station = station
        self._limits = limits
        self._info: profile.Info | None = None
        self._buffer = bytearray()

    def progress(self) -> str:
        """Tell how far it came."""
        return f"{len(self._buffer)} of {self._info.length if self._info else 'unknown'} bytes"

    async def go_on(self) -> tuple[str, str | None]:
        """Connect, take what is missing, hang up. Raises _Interrupted, MalformedPayloadError."""
        events: asyncio.Queue[bytes | None] = asyncio.Queue()
        client = BleakClient(
            self._station,
            disconnected_callback=lambda _: events.put_nowait(None),
            services=[profile.SERVICE],
            timeout=self._limits.connect,
            **self._adapter.client,
        )
        async with self._connected(client):
            info = await self._info_of(client)
            nonce = await self._nonce_of(client)
            if len(self._buffer) < info.length:
                await self._fill(client, info, events)
        if not info.matches(bytes(self._buffer)):
            raise MalformedPayloadError("the station's payload is not the one it announced")
        try:
            return self._buffer.decode("utf-8"), nonce
        except UnicodeDecodeError:
            raise MalformedPayloadError("the station's payload is no text") from None

    @asynccontextmanager
    async def _connected(self, client: BleakClient) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.connect):
                await client.connect()
        except (BleakError, TimeoutError, OSError, EOFError) as error:
            raise _Interrupted(f"no connection ({_what(error)})") from None
        try:
            yield
        finally:
            await self._hang_up(client)

    async def _hang_up(self, client: BleakClient) -> None:
        # A link that cannot even be ended ends by itself; what was received counts.
        try:
            async with asyncio.timeout(self._limits.step):
                await client.disconnect()
        except (BleakError, TimeoutError, OSError, EOFError):
            return

    async def _info_of(self, client: BleakClient) -> profile.Info:
        info = profile.Info.from_bytes(await self._read(client, profile.INFO))
        if self._info not in (None, info):
            raise MalformedPayloadError("the station serves another payload than before")
        self._info = info
        return info

    async def _nonce_of(self, client: BleakClient) -> str | None:
        value = await self._read(client, profile.NONCE)
        if len(value) > profile.MAX_NONCE_BYTES or not value.isascii():
            raise MalformedPayloadError("the station's nonce is none")
        return value.decode("ascii") or None

    async def _fill(self, client: BleakClient, info: profile.Info, events: "asyncio.Queue[bytes | None]") -> None:
        def notified(_: object, value: bytearray) -> None:
            events.put_nowait(bytes(value))

        await self._step(client.start_notify(profile.DATA, notified))
        await self._step(
            client.write_gatt_char(profile.CONTROL, profile.encode_offset(len(self._buffer)), response=True)
        )
        while len(self._buffer) < info.length:
            value = await self._step(events.get())
            if value is None:
                raise _Interrupted("it hung up")
            offset, part = profile.split_chunk(value)
            if offset != len(self._buffer) or offset + len(part) > info.length:
                raise MalformedPayloadError(f"the station sent bytes at {offset} where {len(self._buffer)} was due")
            self._buffer += part

    async def _read(self, client: BleakClient, characteristic: str) -> bytes:
        return bytes(await self._step(client.read_gatt_char(characteristic)))

    async def _step(self, work: Any) -> Any:  # noqa: ANN401 - what bleak answers
        try:
            async with asyncio.timeout(self._limits.step):
                return await work
        except TimeoutError:
            raise _Interrupted(f"it was silent for {self._limits.step:g} s") from None
        except (BleakError, OSError, EOFError) as error:
            raise _Interrupted(_what(error)) from None


async def _scan(adapter: Adapter, short_id: str | None, limits: Limits) -> list[Found]:
    found: dict[str, Found] = {}
    seen = asyncio.Event()

    def detected(device: BLEDevice, advertisement: AdvertisementData) -> None:
        name = profile.short_id_in(advertisement.local_name)
        if name is not None:
            found[device.address] = Found(name, device)
            if short_id in (None, name):
                seen.set()

    try:
        async with BleakScanner(detected, [profile.SERVICE], **adapter.scanner):
            try:
                async with asyncio.timeout(limits.find):
                    await seen.wait()
            except TimeoutError:
                return []
            await asyncio.sleep(limits.settle)
    except BleakBluetoothNotAvailableError as error:
        raise DeviceMissingError(f"Bluetooth cannot be used: {error.args[0]}") from None
    except (BleakError, OSError, EOFError) as error:
        raise DeviceMissingError(f"there is no Bluetooth here ({_what(error)}); --hci names a dongle") from None
    return list(found.values())


def _what(error: BaseException) -> str:
    told = error.args[-1] if isinstance(error, BleakError) and error.args else error
    return str(told) or type(error).__name__
