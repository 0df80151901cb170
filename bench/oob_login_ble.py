"""oob-login-ble: as oob-login-qr, the token by Bluetooth LE over a virtual link, the station's nonce sent back.

oob-login-ble-transfer is the part in which the phone, which has found the station, connects and reads: without the wait
for the next advertisement, of which one is sent every 100 ms.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal
from bumble.device import Device

from bench.lab_loop import USERNAME, Loop, lab_loop
from bench.measure import Row, milliseconds
from fidoloop.bridge.ble import central
from fidoloop.bridge.ble.profile import served_payload
from fidoloop.bridge.ble.radio import bumble_adapter
from fidoloop.bridge.ble.station import Station
from fidoloop.lab_radio import VirtualAir

_LIMITS = central.Limits(settle=0)


class _Radios(NamedTuple):
    """The laptop's and the phone's, powered on."""

    laptop: Device
    phone: Device


def run() -> list[Row]:
    """Measure dispatch, advertising, scanning, GATT, decryption in SoftHSM, redemption, signature and verification."""
    transfers: list[float] = []
    with lab_loop() as loop, start_blocking_portal() as portal:
        rows = loop.rows("oob-login-ble", lambda: _login(loop, portal, transfers.append))
    return [*rows, *milliseconds("oob-login-ble-transfer", transfers)]


def _login(loop: Loop, portal: BlockingPortal, on_transfer: Callable[[float], None]) -> float:
    radios = portal.call(_radios)
    started = time.perf_counter()
    dispatched = loop.laptop.dispatch(
        username=USERNAME,
        target_id=loop.target_id,
        dispatcher="ble",
        information={"channelLinking": {"mode": "ble"}},
    )
    nonce = dispatched.linking.content if dispatched.linking else None
    received, spent = portal.call(_carried, radios, served_payload(dispatched.response), nonce)
    loop.phone.scan(received.payload, link=lambda _demand, _tries_left: received.nonce)
    loop.check(dispatched)
    on_transfer(spent)
    return (time.perf_counter() - started) * 1000


async def _radios() -> _Radios:
    air = VirtualAir()
    return _Radios(await air.device(), await air.device())


async def _carried(radios: _Radios, payload: bytes, nonce: str | None) -> tuple[central.Received, float]:
    """Serve the payload, find the station, read it; return what was read and the milliseconds of reading."""
    station = Station(radios.laptop, payload, nonce=nonce)
    adapter = bumble_adapter(radios.phone)
    await station.start()
    found = await central.find(adapter, short_id=station.short_id, limits=_LIMITS)
    started = time.perf_counter()
    received = await central.receive(adapter, found.device, limits=_LIMITS)
    spent = (time.perf_counter() - started) * 1000
    await station.stop()
    return received, spent
