"""The device in this process: keep-alives, calling a command off, threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fido2.ctap import STATUS, CtapError
from fido2.ctap2 import Ctap2  # type: ignore[attr-defined]  # the package's name, as its users import it
from fido2.hid import CTAPHID
from fido2.pcsc import CtapPcscDevice

from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.user_verification import VerificationRequest
from fidoloop.lab_card import LabCard
from fidoloop.protocol.uaf.registry import UserVerification
from tests.authenticator.ctap2.lab import ERR, ES256, HASH, RP, USER, Lab, public_key


def test_a_platform_is_told_when_the_user_is_asked(lab: Lab) -> None:
    told: list[int] = []
    lab.ctap.make_credential(HASH, RP, USER, ES256, on_keepalive=told.append)
    assert told == [STATUS.UPNEEDED]
    lab.ctap.get_info()
    lab.ctap.selection(on_keepalive=told.append)
    assert told == [STATUS.UPNEEDED] * 2


def test_a_command_that_was_called_off_asks_nobody(lab: Lab) -> None:
    called_off = threading.Event()
    called_off.set()
    with pytest.raises(CtapError) as caught:
        lab.ctap.make_credential(HASH, RP, USER, ES256, event=called_off)
    assert caught.value.code is ERR.KEEPALIVE_CANCEL
    assert lab.asked == 0
    lab.make()


@pytest.mark.parametrize("exclude", [False, True])
def test_a_command_called_off_while_the_user_is_asked_makes_nothing(
    lab: Lab, exclude: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lab.make()
    excluded: Any = [{"type": "public-key", "id": made.auth_data.credential_data.credential_id}]  # type: ignore[union-attr]
    called_off = threading.Event()

    def verify(_request: VerificationRequest) -> UserVerification:
        called_off.set()
        return UserVerification.PRESENCE

    monkeypatch.setattr(lab.user, "verify", verify)
    with pytest.raises(CtapError) as caught:
        lab.ctap.make_credential(HASH, RP, USER, ES256, excluded if exclude else None, event=called_off)
    assert caught.value.code is ERR.KEEPALIVE_CANCEL
    assert lab.keys() == 1
    with pytest.raises(CtapError) as caught:
        lab.ctap.get_assertion(RP["id"], HASH, excluded, event=called_off)
    assert caught.value.code is ERR.KEEPALIVE_CANCEL
    lab.get(made)


def test_commands_of_several_threads_are_done_one_after_another(lab: Lab) -> None:
    made = lab.make()
    with ThreadPoolExecutor(4) as threads:
        counters = list(threads.map(lambda _: lab.get(made).auth_data.counter, range(40)))
    assert len(set(counters)) == 40


def test_a_security_key_and_a_card_are_there_for_other_tests(
    fidoloop_security_key: InProcessDevice, fidoloop_fido_card: LabCard
) -> None:
    (card,) = CtapPcscDevice.list_devices(fidoloop_fido_card.reader)
    for device in (fidoloop_security_key, card):
        ctap = Ctap2(device)
        made = ctap.make_credential(HASH, RP, USER, ES256, options={"rk": True})
        ctap.get_assertion(RP["id"], HASH).verify(HASH, public_key(made))
        device.connect()
        ctap.reset()
        with pytest.raises(CtapError, match="NO_CREDENTIALS"):
            ctap.get_assertion(RP["id"], HASH)
    card.close(release=True)


@pytest.mark.parametrize("command", [CTAPHID.PING, CTAPHID.INIT, CTAPHID.WINK, 0x99])
def test_there_is_no_transport(lab: Lab, command: int) -> None:
    with pytest.raises(CtapError) as caught:
        lab.device.call(command)
    assert caught.value.code is ERR.INVALID_COMMAND
