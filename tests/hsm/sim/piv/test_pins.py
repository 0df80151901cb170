"""VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER, SET PIN RETRIES (SP 800-73-4 part 2, 3.2.1 to 3.2.3)."""

import pytest

from fidoloop.hsm.sim.piv.registry import Ins
from tests.hsm.sim.host import PIN, PUK, Host

OTHER_PIN, OTHER_PUK = b"99999999", b"\x00binary\xff"
VERIFIED = (Ins.VERIFY, 0, 0x80)


def test_the_pin_is_verified_until_the_card_is_reset(host: Host) -> None:
    assert host.status(*VERIFIED) == 0x63C3
    assert host.verify() == 0x9000
    assert host.status(*VERIFIED) == 0x9000
    host.card.reset()
    assert host.status(*VERIFIED) == 0x63C3


def test_verification_is_dropped_on_request(host: Host) -> None:
    assert host.verify() == 0x9000
    assert host.status(Ins.VERIFY, 0xFF, 0x80) == 0x9000
    assert host.status(*VERIFIED) == 0x63C3


def test_wrong_pins_count_down_and_drop_the_verification(host: Host) -> None:
    assert host.verify() == 0x9000
    assert [host.verify(OTHER_PIN), host.status(*VERIFIED)] == [0x63C2, 0x63C2]
    assert [host.verify(), host.verify(OTHER_PIN)] == [0x9000, 0x63C2]


def test_after_the_last_try_even_the_right_pin_is_refused(host: Host) -> None:
    assert [host.verify(OTHER_PIN) for _ in range(4)] == [0x63C2, 0x63C1, 0x63C0, 0x6983]
    assert [host.verify(), host.status(*VERIFIED)] == [0x6983, 0x6983]
    assert host.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x80, PIN + OTHER_PIN) == 0x6983


@pytest.mark.parametrize(
    "pin",
    [
        b"1",
        b"12345\xff\xff\xff",
        b"123456",
        b"123456\xff",
        b"123456\xff\xff\xff",
        b"123\xff56\xff\xff",
        b"12345a\xff\xff",
    ],
)
def test_what_is_no_pin_costs_no_try(host: Host, pin: bytes) -> None:
    assert [host.verify(pin), host.status(*VERIFIED)] == [0x6A80, 0x63C3]


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"),
    [
        (0, 0x00, PIN, 0x6A88),
        (0, 0x81, PUK, 0x6A88),
        (0, 0x96, b"", 0x6A88),
        (1, 0x80, PIN, 0x6A86),
        (0xFF, 0x80, PIN, 0x6700),
        (0xFF, 0x81, b"", 0x6A88),
    ],
)
def test_verify_is_for_the_pin_only(host: Host, p1: int, p2: int, data: bytes, status: int) -> None:
    assert [host.status(Ins.VERIFY, p1, p2, data), host.status(*VERIFIED)] == [status, 0x63C3]


def test_the_pin_is_changed_and_counts_as_verified(host: Host) -> None:
    assert host.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x80, PIN + OTHER_PIN) == 0x9000
    assert host.status(*VERIFIED) == 0x9000
    assert [host.verify(PIN), host.verify(OTHER_PIN)] == [0x63C2, 0x9000]


def test_the_puk_is_changed(host: Host) -> None:
    assert host.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x81, PUK + OTHER_PUK) == 0x9000
    assert host.status(*VERIFIED) == 0x63C3
    assert host.status(Ins.RESET_RETRY_COUNTER, 0, 0x80, PUK + OTHER_PIN) == 0x63C2
    assert host.status(Ins.RESET_RETRY_COUNTER, 0, 0x80, OTHER_PUK + OTHER_PIN) == 0x9000


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"),
    [
        (0, 0x80, OTHER_PIN + OTHER_PIN, 0x63C2),
        (0, 0x80, PIN + b"12345\xff\xff\xff", 0x6A80),
        (0, 0x80, PIN + b"1234567", 0x6A80),
        (0, 0x80, b"pin-code" + OTHER_PIN, 0x6A80),
        (0, 0x80, b"", 0x6A80),
        (0, 0x81, PUK, 0x6A80),
        (0, 0x81, OTHER_PUK + PUK, 0x63C2),
        (0, 0x00, PIN + OTHER_PIN, 0x6A88),
        (1, 0x80, PIN + OTHER_PIN, 0x6A86),
    ],
)
def test_a_change_that_is_refused_changes_nothing(host: Host, p1: int, p2: int, data: bytes, status: int) -> None:
    assert host.status(Ins.CHANGE_REFERENCE_DATA, p1, p2, data) == status
    assert host.verify() == 0x9000
    assert host.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x81, PUK + PUK) == 0x9000


def test_the_puk_unblocks_the_pin_without_verifying_it(host: Host) -> None:
    for _ in range(3):
        host.verify(OTHER_PIN)
    assert host.status(Ins.RESET_RETRY_COUNTER, 0, 0x80, PUK + b"654321\xff\xff") == 0x9000
    assert host.status(*VERIFIED) == 0x63C3
    assert host.verify(b"654321\xff\xff") == 0x9000


def test_a_wrong_puk_counts_down_drops_the_pin_and_blocks(host: Host) -> None:
    assert host.verify() == 0x9000
    wrong = (Ins.RESET_RETRY_COUNTER, 0, 0x80, OTHER_PUK + OTHER_PIN)
    assert [host.status(*wrong), host.status(*VERIFIED)] == [0x63C2, 0x63C3]
    assert [host.status(*wrong) for _ in range(3)] == [0x63C1, 0x63C0, 0x6983]
    assert host.status(Ins.RESET_RETRY_COUNTER, 0, 0x80, PUK + OTHER_PIN) == 0x6983
    assert host.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x81, PUK + OTHER_PUK) == 0x6983


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"),
    [
        (0, 0x81, PUK + OTHER_PIN, 0x6A88),
        (1, 0x80, PUK + OTHER_PIN, 0x6A86),
        (0, 0x80, PUK, 0x6A80),
        (0, 0x80, PUK + b"no pin..", 0x6A80),
        (0, 0x80, OTHER_PUK + b"no pin..", 0x6A80),
    ],
)
def test_unblocking_wrongly_costs_no_try(host: Host, p1: int, p2: int, data: bytes, status: int) -> None:
    assert host.status(Ins.RESET_RETRY_COUNTER, p1, p2, data) == status
    assert host.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x81, OTHER_PUK + PUK) == 0x63C2


def test_tries_are_set_with_pin_and_management_key(manager: Host) -> None:
    assert manager.status(Ins.SET_PIN_RETRIES, 5, 7) == 0x6982
    assert manager.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x80, PIN + OTHER_PIN) == 0x9000
    assert manager.status(Ins.SET_PIN_RETRIES, 5, 7) == 0x9000
    assert [manager.verify(OTHER_PIN), manager.verify(PIN)] == [0x63C4, 0x9000]
    assert manager.status(Ins.RESET_RETRY_COUNTER, 0, 0x80, OTHER_PUK + PIN) == 0x63C6


def test_tries_are_not_set_without_the_management_key(host: Host) -> None:
    assert host.verify() == 0x9000
    assert host.status(Ins.SET_PIN_RETRIES, 5, 5) == 0x6982


@pytest.mark.parametrize(
    ("p1", "p2", "data", "status"), [(0, 3, b"", 0x6A86), (3, 16, b"", 0x6A86), (3, 3, b"x", 0x6700)]
)
def test_tries_are_1_to_15(manager: Host, p1: int, p2: int, data: bytes, status: int) -> None:
    assert manager.verify() == 0x9000
    assert manager.status(Ins.SET_PIN_RETRIES, p1, p2, data) == status
