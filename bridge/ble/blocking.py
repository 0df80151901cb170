"""The station and the phone's reading of it for callers that are not asynchronous."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from anyio.from_thread import start_blocking_portal

from fidoloop.bridge.ble import central, profile
from fidoloop.bridge.ble.radio import bumble_adapter, open_radio
from fidoloop.bridge.ble.station import Station


@contextmanager
def serving(payload: bytes, *, nonce: str | None, transport: str) -> Iterator[str]:
    """Serve `payload` by the radio on the HCI `transport` while the block runs, in a thread; yield the short id.

    Raises:
        MalformedPayloadError: it is empty or too long. DeviceMissingError: no such radio.
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_serving(payload, nonce, transport)) as short_id,
    ):
        yield short_id


def read_token(
    *,
    transport: str | None = None,
    short_id: str | None = None,
    choose: central.Chooser | None = None,
    limits: central.Limits | None = None,
) -> central.Received:
    """Find a station and return what it serves: by the system's Bluetooth, or the radio on the HCI `transport`.

    Raises:
        StationError, MalformedPayloadError, DeviceMissingError: as central.find and central.receive.
    """

    async def read(adapter: central.Adapter) -> central.Received:
        found = await central.find(adapter, short_id=short_id, choose=choose, limits=limits)
        return await central.receive(adapter, found.device, limits=limits)

    async def by_radio(transport: str) -> central.Received:
        async with open_radio(transport) as device:
            return await read(bumble_adapter(device))

    return asyncio.run(read(central.SYSTEM) if transport is None else by_radio(transport))


@asynccontextmanager
async def _serving(payload: bytes, nonce: str | None, transport: str) -> AsyncIterator[str]:
    short_id = profile.new_short_id()
    async with open_radio(transport, profile.local_name(short_id)) as device:
        station = Station(device, payload, nonce=nonce, short_id=short_id)
        await station.start()
        try:
            yield short_id
        finally:
            await station.stop()
