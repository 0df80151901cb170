"""Laptops and phones in range of each other over bumble's virtual link, and stations that misbehave."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from bumble.device import Connection, Device

from fidoloop.bridge.ble import central
from fidoloop.bridge.ble.radio import bumble_adapter
from fidoloop.bridge.ble.station import Station
from fidoloop.lab_radio import VirtualAir

PAYLOAD = ('{"nma_data": "' + "x" * 1500 + '"}').encode()
QUICK = central.Limits(find=20.0, settle=0.0, connect=5.0, step=0.25, total=20.0, connections=2)
PATIENT = central.Limits(find=20.0, settle=0.0, connect=20.0, step=20.0, total=60.0, connections=4)

Step = Literal["info", "nonce", "control", "data"]
Way = Literal["stall", "hang up", "garbage"]


class Misbehaving(Station):
    """Does everything right up to `step`, which it does in its own way."""

    def __init__(self, device: Device, payload: bytes, *, step: Step, way: Way, **options: Any) -> None:  # noqa: ANN401 - Station's
        super().__init__(device, payload, **options)
        self._step = step
        self._way = way

    async def info(self, connection: Connection) -> bytes:
        return await self._answer("info", connection, await super().info(connection))

    async def nonce(self, connection: Connection) -> bytes:
        return await self._answer("nonce", connection, await super().nonce(connection))

    async def control(self, connection: Connection, value: bytes) -> None:
        await self._answer("control", connection, b"")
        await super().control(connection, value)

    async def notify(self, connection: Connection, value: bytes) -> None:
        await super().notify(connection, await self._answer("data", connection, value))

    async def _answer(self, step: Step, connection: Connection, value: bytes) -> bytes:
        if step != self._step:
            return value
        if self._way == "stall":
            await asyncio.Event().wait()
        if self._way == "hang up":
            await connection.disconnect()
        return b"\xff" * max(len(value), 4)


class Watched(Station):
    """Remembers the offsets it was asked for and what it sent, and hangs up after so many notifications each time."""

    def __init__(self, device: Device, payload: bytes, *, hang_ups: int = 0, after: int = 3, **options: Any) -> None:  # noqa: ANN401 - Station's
        super().__init__(device, payload, **options)
        self.offsets: list[int] = []
        self.sent: list[int] = []
        self._hang_ups = hang_ups
        self._after = after
        self._until = after

    async def control(self, connection: Connection, value: bytes) -> None:
        self.offsets.append(int.from_bytes(value, "big"))
        self._until = self._after
        await super().control(connection, value)

    async def notify(self, connection: Connection, value: bytes) -> None:
        self.sent.append(len(value))
        await super().notify(connection, value)
        self._until -= 1
        if self._until == 0 and self._hang_ups > 0:
            self._hang_ups -= 1
            await connection.disconnect()


async def read(
    make: Callable[[Device], Station], *, limits: central.Limits = PATIENT, mtu: int | None = None
) -> central.Received:
    """Start the station that `make` returns, find it and read it, and stop it."""
    air = VirtualAir()
    station = make(await air.device())
    adapter = bumble_adapter(await air.device())
    if mtu is not None:
        adapter.client["mtu"] = mtu
    await station.start()
    try:
        found = await central.find(adapter, limits=limits)
        assert found.short_id == station.short_id
        return await central.receive(adapter, found.device, limits=limits)
    finally:
        await station.stop()
