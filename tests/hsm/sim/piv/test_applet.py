"""The PIV application as a whole: selection, what it says of itself, RESET, and that nothing a host sends breaks it."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fidoloop.hsm.piv.tlv import encode, fields, only
from fidoloop.hsm.sim.card import Card
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.piv.registry import AID, Ins
from fidoloop.hsm.sim.piv_card import atr
from tests.hsm.sim.host import NOW, PIN, PUK, Host, new_host

SELECT = 0xA4
_FACTORY = Factory.create(now=NOW)


def test_selection_tells_honestly_what_this_is(host: Host) -> None:
    template = fields(only(host.ok(SELECT, 4, 0, AID), 0x61))
    assert template[0x4F] == AID[5:]
    assert fields(template[0x79]) == {0x4F: AID[:5]}
    assert template[0x50] == b"fidoloop simulated card"


@pytest.mark.parametrize("aid", [AID, AID[:9], AID[:5]])
def test_selecting_again_loses_nothing(host: Host, aid: bytes) -> None:
    host.verify()
    host.ok(SELECT, 4, 0, aid)
    assert host.status(SELECT, 4, 0, b"\xa0\x00\x00\x09\x99") == 0x6A82
    assert host.status(Ins.VERIFY, 0, 0x80) == 0x9000


@pytest.mark.parametrize("yubikey_shape", [False, True])
def test_the_answer_to_reset_is_well_formed(yubikey_shape: bool) -> None:
    value = atr(yubikey_shape=yubikey_shape)
    check = 0
    for byte in value[1:]:
        check ^= byte
    assert (value[0], check, len(value) <= 33) == (0x3B, 0, True)
    assert (b"YubiKey" in value) == yubikey_shape


def test_version_and_serial_number_are_told(host: Host) -> None:
    assert host.ok(Ins.GET_VERSION) == b"\x05\x07\x00"
    assert int.from_bytes(host.ok(Ins.GET_SERIAL)) == host.store.state.serial
    for ins in (Ins.GET_VERSION, Ins.GET_SERIAL, Ins.RESET):
        assert [host.status(ins, 1), host.status(ins, 0, 1), host.status(ins, 0, 0, b"x")] == [0x6A86, 0x6A86, 0x6700]


@pytest.mark.parametrize("ins", sorted(set(range(256)) - {*Ins, SELECT, 0xC0}))
def test_unknown_instructions_are_refused(host: Host, ins: int) -> None:
    assert host.status(ins) == 0x6D00


def test_other_classes_are_refused(host: Host) -> None:
    assert host.card.transmit(bytes.fromhex("80fd000000")).hex() == "6e00"
    assert host.card.transmit(bytes.fromhex("90fd000001aa")).hex() == "9000"
    assert host.card.transmit(bytes.fromhex("80fd000001aa")).hex() == "6e00"


def test_reset_wants_both_pin_and_puk_blocked_and_spares_slot_f9(manager: Host) -> None:
    manager.generate(0x9A)
    manager.ok(Ins.PUT_DATA, 0x3F, 0xFF, b"\x5c\x03\x5f\xc1\x05\x53\x01\xaa")
    manager.ok(Ins.SET_MANAGEMENT_KEY, 0xFF, 0xFF, b"\x08\x9b\x10" + bytes(range(16)))
    serial, attester = manager.ok(Ins.GET_SERIAL), manager.ok(Ins.GET_METADATA, 0, 0xF9)
    for _ in range(3):
        manager.verify(b"00000000")
    assert manager.status(Ins.RESET) == 0x6985
    for _ in range(3):
        manager.status(Ins.RESET_RETRY_COUNTER, 0, 0x80, b"wrongpuk" + PIN)
    assert manager.status(Ins.RESET) == 0x9000
    assert manager.status(Ins.PUT_DATA, 0x3F, 0xFF, b"\x5c\x03\x5f\xc1\x05\x53\x01\xaa") == 0x6982
    assert [manager.verify(), manager.status(Ins.CHANGE_REFERENCE_DATA, 0, 0x81, PUK + PUK)] == [0x9000, 0x9000]
    assert manager.authenticate() == 0x9000
    assert manager.status(Ins.GET_METADATA, 0, 0x9A) == 0x6A88
    assert manager.status(Ins.GET_DATA, 0x3F, 0xFF, b"\x5c\x03\x5f\xc1\x05") == 0x6A82
    assert (manager.ok(Ins.GET_SERIAL), manager.ok(Ins.GET_METADATA, 0, 0xF9)) == (serial, attester)


def answered(card: Card, raw: bytes) -> int:
    """The status word, which there always is, and not one that tells of a fault in the card."""
    answer = card.transmit(raw)
    assert 2 <= len(answer) <= 0xFFFF
    status = int.from_bytes(answer[-2:])
    assert status == 0x9000 or 0x6100 <= status < 0x6F00
    return status


_ANYTHING = st.binary(max_size=80)
_HEADERS = st.tuples(
    st.sampled_from([0x00, 0x10]),
    st.sampled_from([*Ins, SELECT, 0xC0]),
    st.sampled_from([0x00, 0x03, 0x04, 0x07, 0x08, 0x11, 0x14, 0x3F, 0x82, 0x9A, 0xFF]),
    st.sampled_from([0x00, 0x80, 0x81, 0x82, 0x9A, 0x9B, 0x9C, 0x9E, 0xF9, 0xFE, 0xFF]),
)
_VALUES = st.one_of(
    _ANYTHING,
    st.builds(encode, st.sampled_from([0x5C, 0x53, 0x7C, 0xAC, 0x80, 0x81, 0x82, 0x85, 0x06, 0x01, 0xAA]), _ANYTHING),
)
_TEMPLATES = st.builds(
    lambda tag, values: encode(tag, b"".join(values)),
    st.sampled_from([0x7C, 0xAC, 0x5C]),
    st.lists(_VALUES, max_size=4),
)
_COMMANDS = st.builds(
    lambda header, data, le: bytes(header) + (bytes([len(data)]) + data if data else b"") + le,
    _HEADERS,
    st.one_of(_VALUES, _TEMPLATES).filter(lambda data: len(data) < 256),
    st.sampled_from([b"", b"\x00", b"\x01"]),
)


@given(st.lists(st.binary(max_size=300), max_size=5))
@example([b""])
def test_no_bytes_break_the_card(commands: list[bytes]) -> None:
    host = new_host(_FACTORY)
    for command in commands:
        answered(host.card, command)


@given(st.lists(_COMMANDS, max_size=12))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_sequence_of_commands_breaks_a_managed_card(commands: list[bytes]) -> None:
    host = new_host(_FACTORY)
    host.authenticate()
    host.generate(0x9E)
    host.verify()
    for command in commands:
        answered(host.card, command)
    host.card.reset()
    assert answered(host.card, b"\x00\xfd\x00\x00\x00") == 0x9000
