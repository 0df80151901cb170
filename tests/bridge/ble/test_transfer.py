"""A token from a laptop's station to the phone: bleak's own classes over bumble's virtual link."""

import asyncio
from typing import Any

import msgspec
import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakCharacteristicNotFoundError, BleakError
from bumble.core import UUID
from bumble.device import Connection, Device

from fidoloop.bridge.ble import central, profile
from fidoloop.bridge.ble.bumble_backend import BumbleClient, BumbleScanner
from fidoloop.bridge.ble.radio import bumble_adapter, open_radio
from fidoloop.bridge.ble.station import Station
from fidoloop.bridge.errors import DeviceMissingError, MalformedPayloadError, StationError
from fidoloop.lab_radio import VirtualAir
from fidoloop.protocol.outofband import MAX_PAYLOAD_CHARACTERS
from tests.bridge.ble.stations import PATIENT, PAYLOAD, QUICK, Misbehaving, Step, Watched, read

LONG = ("A" * MAX_PAYLOAD_CHARACTERS).encode()


@pytest.mark.parametrize("payload", [b"x", PAYLOAD, LONG], ids=["one byte", "usual", "longest"])
@pytest.mark.parametrize("nonce", [None, "n" * profile.MAX_NONCE_BYTES])
def test_what_is_served_is_read(payload: bytes, nonce: str | None) -> None:
    received = asyncio.run(read(lambda device: Station(device, payload, nonce=nonce)))
    assert received == central.Received(payload.decode(), nonce, 1)


@pytest.mark.parametrize("mtu", [23, 64, 185, 247, 517])
def test_notifications_are_as_large_as_the_mtu_lets_them_be(mtu: int) -> None:
    stations: list[Watched] = []

    def make(device: Device) -> Station:
        stations.append(Watched(device, PAYLOAD))
        return stations[0]

    assert asyncio.run(read(make, mtu=mtu)).payload == PAYLOAD.decode()
    (station,) = stations
    assert set(station.sent[:-1]) == {mtu - 3}
    assert len(station.sent) == -(-len(PAYLOAD) // (mtu - 5))


@pytest.mark.parametrize("hang_ups", [1, 3])
def test_a_transfer_that_broke_off_goes_on_where_it_was(hang_ups: int) -> None:
    stations: list[Watched] = []

    def make(device: Device) -> Station:
        stations.append(Watched(device, PAYLOAD, hang_ups=hang_ups))
        return stations[0]

    received = asyncio.run(read(make, mtu=64))
    assert received.payload == PAYLOAD.decode()
    assert received.connections == hang_ups + 1
    (station,) = stations
    assert station.offsets[0] == 0
    assert len(station.offsets) == hang_ups + 1
    assert sorted(set(station.offsets)) == station.offsets  # never from the start again


def test_a_station_that_hangs_up_too_often_is_given_up() -> None:
    with pytest.raises(StationError, match=r"hung up|disconnected") as refused:
        asyncio.run(read(lambda device: Watched(device, PAYLOAD, hang_ups=9, after=1), mtu=23))
    assert f"of {len(PAYLOAD)} bytes" in str(refused.value)


STEPS: list[Step] = ["info", "nonce", "control", "data"]


@pytest.mark.parametrize("step", STEPS)
def test_a_station_that_falls_silent_is_given_up(step: Step) -> None:
    with pytest.raises(StationError, match=r"silent for 0.25 s"):
        asyncio.run(read(lambda device: Misbehaving(device, PAYLOAD, step=step, way="stall"), limits=QUICK))


@pytest.mark.parametrize("step", STEPS)
def test_a_station_that_hangs_up_is_given_up(step: Step) -> None:
    limits = msgspec.structs.replace(PATIENT, connections=2)
    with pytest.raises(StationError, match=r"hung up|disconnected"):
        asyncio.run(read(lambda device: Misbehaving(device, PAYLOAD, step=step, way="hang up"), limits=limits))


@pytest.mark.parametrize(
    ("step", "said"), [("info", "version 255"), ("nonce", "nonce is none"), ("data", "bytes at 65535 where 0 was due")]
)
def test_garbage_is_refused_at_once(step: Step, said: str) -> None:
    with pytest.raises(MalformedPayloadError, match=said):
        asyncio.run(read(lambda device: Misbehaving(device, PAYLOAD, step=step, way="garbage", nonce="nnnn")))


class Lying(Station):
    """Announces one payload and sends another, or more than it announced."""

    def __init__(self, device: Device, sent: bytes, announced: profile.Info) -> None:
        super().__init__(device, sent)
        self._announced = announced

    async def info(self, connection: Connection) -> bytes:
        return self._announced.to_bytes()


@pytest.mark.parametrize(
    ("announced", "said"),
    [
        (profile.Info.of(PAYLOAD[:-1] + b"!"), "not the one it announced"),
        (profile.Info.of(PAYLOAD[:100]), "where 0 was due"),
        (profile.Info(0xFFFF, bytes(32)), "a payload of 65535 bytes"),
        (profile.Info(0, bytes(32)), "a payload of 0 bytes"),
    ],
    ids=["another", "longer than announced", "too long", "nothing"],
)
def test_what_was_not_announced_is_refused(announced: profile.Info, said: str) -> None:
    with pytest.raises(MalformedPayloadError, match=said):
        asyncio.run(read(lambda device: Lying(device, PAYLOAD, announced)))


def test_less_than_announced_is_waited_for_and_given_up() -> None:
    """By silence, and where the phone asks for what there is not: by the error that it gets."""
    limits = msgspec.structs.replace(PATIENT, step=1.0, connections=2)
    with pytest.raises(StationError, match=r"Invalid Offset.*; 1516 of 1517 bytes"):
        asyncio.run(read(lambda device: Lying(device, PAYLOAD, profile.Info.of(PAYLOAD + b"!")), limits=limits))


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedPayloadError, match="no text"):
        asyncio.run(read(lambda device: Station(device, b"\xff" * 40)))


class Changing(Watched):
    """Serves something else after it hung up."""

    async def info(self, connection: Connection) -> bytes:
        return (profile.Info.of(PAYLOAD + b"!") if self.offsets else profile.Info.of(PAYLOAD)).to_bytes()


def test_another_payload_after_a_reconnection_is_refused() -> None:
    with pytest.raises(MalformedPayloadError, match="another payload than before"):
        asyncio.run(read(lambda device: Changing(device, PAYLOAD, hang_ups=1), mtu=64))


class Endless(Station):
    """Never stops sending."""

    async def send(self, connection: Connection, offset: int) -> None:
        while True:
            await self.notify(connection, profile.encode_offset(0) + b"x" * 8)
            await asyncio.sleep(0)


def test_a_station_that_never_stops_sending_is_refused() -> None:
    with pytest.raises(MalformedPayloadError, match="bytes at 0 where 8 was due"):
        asyncio.run(read(lambda device: Endless(device, PAYLOAD)))


def test_a_slow_station_has_its_time() -> None:
    class Slow(Station):
        async def notify(self, connection: Connection, value: bytes) -> None:
            await asyncio.sleep(0.05)
            await super().notify(connection, value)

    limits = msgspec.structs.replace(PATIENT, total=1.5)
    with pytest.raises(StationError, match=r"not done in 1.5 s .*; \d+ of 1516 bytes"):
        asyncio.run(read(lambda device: Slow(device, PAYLOAD), limits=limits, mtu=23))


def test_a_phone_that_stalls_is_hung_up_on() -> None:
    async def run() -> None:
        air = VirtualAir()
        station = Station(await air.device(), PAYLOAD, connection_seconds=1.0)
        adapter = bumble_adapter(await air.device())
        await station.start()
        found = await central.find(adapter, limits=PATIENT)
        gone = asyncio.Event()
        client = BleakClient(found.device, lambda _: gone.set(), backend=BumbleClient)
        await client.connect()
        await gone.wait()
        assert not client.is_connected
        received = await central.receive(adapter, found.device, limits=PATIENT)  # and the next one is served
        assert received.payload == PAYLOAD.decode()
        await station.stop()

    asyncio.run(run())


async def several(short_ids: list[str], **asked: Any) -> str:  # noqa: ANN401 - what `find` takes
    """Return the payload of the station found among those of `short_ids`, each of which serves its own number."""
    air = VirtualAir()
    for number, short_id in enumerate(short_ids):
        await Station(await air.device(), str(number).encode(), short_id=short_id).start()
    adapter = bumble_adapter(await air.device())
    found = await central.find(adapter, limits=msgspec.structs.replace(PATIENT, settle=1.0), **asked)
    return (await central.receive(adapter, found.device)).payload


def test_of_several_laptops_the_one_whose_short_id_is_said_is_read() -> None:
    assert asyncio.run(several(["AAAA", "BBBB", "CCCC"], short_id="BBBB")) == "1"


@pytest.mark.parametrize(("answer", "payload"), [(0, "1"), (1, "0")])
def test_of_several_laptops_the_user_chooses(answer: int, payload: str) -> None:
    def choose(short_ids: list[str]) -> int:
        assert short_ids == ["AAAA", "BBBB"]
        return answer

    assert asyncio.run(several(["BBBB", "AAAA"], choose=choose)) == payload


@pytest.mark.parametrize("choose", [None, lambda _: None], ids=["nobody to ask", "none chosen"])
def test_of_several_laptops_none_is_guessed(choose: central.Chooser | None) -> None:
    with pytest.raises(StationError, match="several laptops are in range, name one of: AAAA, BBBB"):
        asyncio.run(several(["AAAA", "BBBB"], choose=choose))


@pytest.mark.parametrize("asked", [{"short_id": "AAAA"}, {}, {"choose": lambda _: 0}])
def test_two_laptops_of_one_short_id_are_refused(asked: dict[str, Any]) -> None:
    """One of them is not the laptop before the user."""
    with pytest.raises(StationError, match="two stations call themselves AAAA"):
        asyncio.run(several(["AAAA", "AAAA"], **asked))


@pytest.mark.parametrize("short_id", [None, "ZZZZ"])
def test_without_a_laptop_in_range_that_is_said(short_id: str | None) -> None:
    async def run() -> None:
        air = VirtualAir()
        if short_id:
            await Station(await air.device(), b"x", short_id="AAAA").start()
        adapter = bumble_adapter(await air.device())
        await central.find(adapter, short_id=short_id, limits=msgspec.structs.replace(PATIENT, find=0.3))

    with pytest.raises(StationError, match=f"no laptop{' called ZZZZ' if short_id else ''} was found within 0.3 s"):
        asyncio.run(run())


def test_a_laptop_that_went_away_is_said_to_be_gone() -> None:
    async def run() -> None:
        air = VirtualAir()
        device = await air.device()
        station = Station(device, b"x")
        adapter = bumble_adapter(await air.device())
        await station.start()
        found = await central.find(adapter, limits=PATIENT)
        await station.stop()
        await central.receive(adapter, found.device, limits=msgspec.structs.replace(QUICK, connect=0.3))

    with pytest.raises(StationError, match="no connection"):
        asyncio.run(run())


def test_other_devices_in_range_are_passed_over() -> None:
    """One without our service, some with garbage for data, one with our service and a name that is no station's."""

    async def run() -> None:
        air = VirtualAir()
        await (await air.device()).start_advertising(advertising_data=b"\x02\x01\x06\x08\x09FL-AAAA")
        ours = bytes(UUID(profile.SERVICE))
        for garbage in (b"\xff\x07", b"\x05\x07abc", b"\x00\x00\x11\x07", b"\x11\x07" + ours + b"\x04\x09\xff\xfe\x00"):
            await (await air.device()).start_advertising(advertising_data=garbage)
        stranger = Station(await air.device(), b"x")
        stranger.short_id = "printer"
        await stranger.start()
        station = Station(await air.device(), b"y", short_id="KKKK")
        await station.start()
        adapter = bumble_adapter(await air.device())
        found = await central.find(adapter, limits=msgspec.structs.replace(PATIENT, settle=0.5))
        assert found.short_id == "KKKK"

    asyncio.run(run())


@pytest.mark.parametrize("transport", ["unix-client:/no/such/socket", "usb:7", "pigeon:0", "tcp-client:nonsense", ""])
def test_a_radio_that_is_not_there_is_named(transport: str) -> None:
    async def run() -> None:
        async with open_radio(transport):
            raise AssertionError("opened")

    with pytest.raises(DeviceMissingError, match="the Bluetooth radio"):
        asyncio.run(run())


def test_without_the_systems_bluetooth_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/bus")
    with pytest.raises(DeviceMissingError, match="--hci names a dongle"):
        asyncio.run(central.find(central.SYSTEM))


def test_the_backend_refuses_what_it_cannot_do() -> None:
    async def run() -> None:
        air = VirtualAir()
        station = Station(await air.device(), PAYLOAD)
        await station.start()
        radio = await air.device()
        device = await BleakScanner.find_device_by_filter(
            lambda _, advertisement: profile.SERVICE in advertisement.service_uuids,
            timeout=20.0,
            backend=BumbleScanner,
            radio=radio,  # type: ignore[call-arg]
        )
        assert device is not None
        with pytest.raises(BleakError, match="found by scanning"):
            BleakClient(device.address, backend=BumbleClient)
        with pytest.raises(BleakError, match="no bonds"):
            await BleakClient(device, backend=BumbleClient, pair=True).connect()
        client = BleakClient(device, backend=BumbleClient)
        with pytest.raises(BleakError, match="not connected"):
            await client.pair() if client.is_connected else client.mtu_size
        async with client:
            assert client.name == profile.local_name(station.short_id)
            assert client.mtu_size == 247
            data = client.services.get_characteristic(profile.DATA)
            assert data is not None
            assert data.properties == ["notify"]
            assert data.max_write_without_response_size == 244
            (configuration,) = data.descriptors
            assert await client.read_gatt_descriptor(configuration.handle) == b"\x00\x00"
            for wrong in (b"", b"\xff\xff", b"\x00" * 9):
                with pytest.raises(BleakError, match="Invalid Offset"):
                    await client.write_gatt_char(profile.CONTROL, wrong, response=True)
            for readable in (profile.INFO, profile.NONCE, profile.DATA):
                with pytest.raises(BleakError, match="Write Not Permitted"):
                    await client.write_gatt_char(readable, b"x", response=True)
            for unreadable in (profile.CONTROL, profile.DATA):
                with pytest.raises(BleakError, match="Read Not Permitted"):
                    await client.read_gatt_char(unreadable)
            with pytest.raises(BleakCharacteristicNotFoundError):
                await client.read_gatt_char("2a19")
            with pytest.raises(BleakError, match="no bonds"):
                await client.unpair()
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            await client.start_notify(profile.DATA, lambda _, value: heard.put_nowait(bytes(value)))
            await client.write_gatt_char(profile.CONTROL, profile.encode_offset(len(PAYLOAD) - 1), response=True)
            assert await heard.get() == profile.encode_offset(len(PAYLOAD) - 1) + PAYLOAD[-1:]
            await client.stop_notify(profile.DATA)
        assert not client.is_connected
        await client.disconnect()
        await station.stop()

    asyncio.run(run())
