"""Log-ins by Bluetooth: what a phone reads from a station, the proof that it was near, and nothing redeemed else."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from bumble.device import Device

from fidoloop.bridge.ble import profile
from fidoloop.bridge.ble.station import Station
from fidoloop.bridge.errors import (
    BridgeError,
    CannotDecryptError,
    ClientFailureError,
    MalformedPayloadError,
    ServerRefusedError,
    StationError,
)
from fidoloop.bridge.laptop import Dispatched
from fidoloop.bridge.phone import Phone
from fidoloop.protocol.channel_linking import ChannelLinkingDemand
from tests.bridge.ble.stations import PATIENT, QUICK, Misbehaving, Step, Watched, Way, read
from tests.lab import Lab


def dispatched_by_ble(lab: Lab, username: str) -> Dispatched:
    (target,) = lab.laptop.targets(username)
    return lab.laptop.dispatch(
        username=username,
        target_id=target.id,
        dispatcher="ble",
        information={"channelLinking": {"mode": "ble"}},
    )


def station_of(dispatched: Dispatched, *, hang_ups: int = 0) -> Callable[[Device], Station]:
    assert dispatched.linking is not None
    payload, nonce = profile.served_payload(dispatched.response), dispatched.linking.content
    return lambda device: Watched(device, payload, nonce=nonce, hang_ups=hang_ups)


def answering(nonce: str | None) -> Callable[[ChannelLinkingDemand, int | None], str | None]:
    return lambda demand, tries_left: nonce if demand.mode == "ble" and tries_left is None else None


@pytest.mark.parametrize("hang_ups", [0, 2])
def test_a_token_that_came_by_ble_logs_in(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], hang_ups: int) -> None:
    phone, username = enrolled_phone
    dispatched = dispatched_by_ble(fidoloop_lab, username)
    received = asyncio.run(read(station_of(dispatched, hang_ups=hang_ups), mtu=64))
    assert received.connections == hang_ups + 1
    phone.scan(received.payload, link=answering(received.nonce))
    final = fidoloop_lab.laptop.status(dispatched.session_id)
    assert (final.status, final.userId) == ("succeeded", username)


@pytest.mark.parametrize("nonce", [None, "", "AAAAAAAAAAAAAAAAAAAAAA"], ids=["none", "empty", "another's"])
def test_a_phone_that_was_not_near_logs_nobody_in(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], nonce: str | None
) -> None:
    """It has the token, by whatever way, but not the station's nonce."""
    phone, username = enrolled_phone
    dispatched = dispatched_by_ble(fidoloop_lab, username)
    with pytest.raises((ServerRefusedError, ClientFailureError)):
        phone.scan(dispatched.response, link=answering(nonce))
    assert fidoloop_lab.laptop.status(dispatched.session_id).status != "succeeded"


def test_the_nonce_is_not_in_the_payload(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    _, username = enrolled_phone
    dispatched = dispatched_by_ble(fidoloop_lab, username)
    assert dispatched.linking is not None
    assert dispatched.linking.content.encode() not in profile.served_payload(dispatched.response)


def test_a_token_for_another_phone_is_not_redeemed(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    phone, _ = enrolled_phone
    _, neighbour = fidoloop_lab.enrolled()
    dispatched = dispatched_by_ble(fidoloop_lab, neighbour)
    received = asyncio.run(read(station_of(dispatched)))
    with pytest.raises(CannotDecryptError, match="another device"):
        phone.scan(received.payload, link=answering(received.nonce))
    assert fidoloop_lab.laptop.status(dispatched.session_id).status == "tokenCreated"


def test_whatever_a_station_does_wrong_nothing_is_redeemed(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]
) -> None:
    phone, username = enrolled_phone
    dispatched = dispatched_by_ble(fidoloop_lab, username)
    payload = profile.served_payload(dispatched.response)
    cases: list[tuple[Step, Way, type[BridgeError]]] = [
        ("info", "stall", StationError),
        ("nonce", "stall", StationError),
        ("control", "stall", StationError),
        ("data", "stall", StationError),
        ("info", "hang up", StationError),
        ("nonce", "hang up", StationError),
        ("control", "hang up", StationError),
        ("data", "hang up", StationError),
        ("info", "garbage", MalformedPayloadError),
        ("nonce", "garbage", MalformedPayloadError),
        ("data", "garbage", MalformedPayloadError),
    ]
    for step, way, refusal in cases:

        def make(device: Device, step: Step = step, way: Way = way) -> Station:
            return Misbehaving(device, payload, step=step, way=way, nonce="nnnn")

        limits = QUICK if way == "stall" else msgspec.structs.replace(PATIENT, connections=2)
        with pytest.raises(refusal):
            phone.scan(asyncio.run(read(make, limits=limits)).payload)
        assert fidoloop_lab.laptop.status(dispatched.session_id).status == "tokenCreated", (step, way)
    received = asyncio.run(read(station_of(dispatched)))
    phone.scan(received.payload, link=answering(received.nonce))
    assert fidoloop_lab.laptop.status(dispatched.session_id).status == "succeeded"


@pytest.mark.parametrize("spoil", [lambda payload: payload[:-40], lambda payload: payload.replace(b"nma_", b"amn_")])
def test_a_payload_that_is_none_is_refused(
    fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str], spoil: Callable[[bytes], bytes]
) -> None:
    phone, username = enrolled_phone
    dispatched = dispatched_by_ble(fidoloop_lab, username)
    payload = spoil(profile.served_payload(dispatched.response))
    received = asyncio.run(read(lambda device: Station(device, payload)))
    with pytest.raises(MalformedPayloadError):
        phone.scan(received.payload)
    assert fidoloop_lab.laptop.status(dispatched.session_id).status == "tokenCreated"


def test_without_a_target_nothing_is_dispatched_by_ble(fidoloop_lab: Lab) -> None:
    """Who is near reads what is served: it goes out encrypted, or not at all."""
    username = fidoloop_lab.new_user()
    with pytest.raises(ServerRefusedError, match="dispatchTargetNotFound"):
        fidoloop_lab.laptop.dispatch(username=username, dispatcher="ble")


def test_what_is_too_long_for_a_phone_is_not_dispatched(fidoloop_lab: Lab, enrolled_phone: tuple[Phone, str]) -> None:
    _, username = enrolled_phone
    (target,) = fidoloop_lab.laptop.targets(username)
    with pytest.raises(ServerRefusedError, match="dispatchError"):
        fidoloop_lab.laptop.dispatch(
            username=username, target_id=target.id, dispatcher="ble", information={"data": {"padding": "x" * 30_000}}
        )
