"""Members that are missing, of the wrong type, too long, not canonical; unknown commands; exact status codes."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fido2 import cbor
from fido2.ctap import CtapError
from fido2.ctap2 import Ctap2  # type: ignore[attr-defined]  # the package's names, as its users import them
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fidoloop.authenticator.ctap2.limits import MAX_FRAGMENT, MAX_LARGE_BLOBS, MAX_MESSAGE
from tests.authenticator.ctap2.lab import ERR, ES256, HASH, RP, RP_ID, USER, Lab

CMD = Ctap2.CMD
KEY = {1: 2, 3: -25, -1: 1, -2: bytes(32), -3: bytes(32)}
DESCRIPTORS = [{"type": "public-key", "id": b"x"}]
FULL: dict[int, dict[int, Any]] = {
    CMD.MAKE_CREDENTIAL: {
        1: HASH,
        2: RP,
        3: USER,
        4: ES256,
        5: DESCRIPTORS,
        6: {"credProtect": 1, "hmac-secret": True, "credBlob": b"", "minPinLength": True},
        7: {"rk": False},
        8: bytes(32),
        9: 2,
        10: 1,
    },
    CMD.GET_ASSERTION: {1: RP_ID, 2: HASH, 3: DESCRIPTORS, 4: {"credBlob": True}, 5: {"up": True}, 6: bytes(32), 7: 2},
    CMD.CLIENT_PIN: {1: 2, 2: 3, 3: KEY, 4: bytes(32), 5: bytes(80), 6: bytes(32), 9: 1, 10: RP_ID},
    CMD.CREDENTIAL_MGMT: {1: 1, 2: {}, 3: 2, 4: bytes(32)},
    CMD.CONFIG: {1: 3, 2: {1: 4, 2: [RP_ID], 3: True}, 3: 2, 4: bytes(32)},
    CMD.LARGE_BLOBS: {1: 1, 3: 0},
}
REQUIRED: dict[int, tuple[int, ...]] = {
    CMD.MAKE_CREDENTIAL: (1, 2, 3, 4),
    CMD.GET_ASSERTION: (1, 2),
    CMD.CLIENT_PIN: (2,),
    CMD.CREDENTIAL_MGMT: (1,),
    CMD.CONFIG: (1,),
}
OTHERS: tuple[object, ...] = (5, -5, b"bytes", "text", [1], {1: 1}, True)


def status(lab: Lab, command: int, content: Mapping[int, Any] | bytes | None) -> ERR:
    with pytest.raises(CtapError) as caught:
        lab.send(command, content)
    assert isinstance(caught.value.code, ERR)
    return caught.value.code


@pytest.mark.parametrize(
    ("command", "missing"), [(command, member) for command, members in REQUIRED.items() for member in members]
)
def test_missing_members(lab: Lab, command: int, missing: int) -> None:
    members = {name: value for name, value in FULL[command].items() if name != missing}
    assert status(lab, command, members) is ERR.MISSING_PARAMETER


def wrong_types() -> Iterator[Any]:
    for command, members in FULL.items():
        for name, value in members.items():
            if command == CMD.CLIENT_PIN and name in (6, 9, 10):
                continue  # not read by setPIN
            for other in OTHERS:
                if type(other) is not type(value):
                    yield pytest.param(command, {**members, name: other}, id=f"{command}-{name}-{type(other).__name__}")


@pytest.mark.parametrize(("command", "members"), list(wrong_types()))
def test_members_of_the_wrong_type(lab: Lab, command: int, members: dict[int, Any]) -> None:
    assert status(lab, command, members) is ERR.CBOR_UNEXPECTED_TYPE


@pytest.mark.parametrize(
    ("command", "change", "expected"),
    [
        (CMD.MAKE_CREDENTIAL, {1: bytes(31)}, ERR.INVALID_LENGTH),
        (CMD.MAKE_CREDENTIAL, {1: bytes(33)}, ERR.INVALID_LENGTH),
        (CMD.MAKE_CREDENTIAL, {2: {"name": "x"}}, ERR.MISSING_PARAMETER),
        (CMD.MAKE_CREDENTIAL, {2: {"id": ""}}, ERR.INVALID_LENGTH),
        (CMD.MAKE_CREDENTIAL, {2: {"id": "x" * 256}}, ERR.INVALID_LENGTH),
        (CMD.MAKE_CREDENTIAL, {2: {"id": b"x"}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {2: {"id": "x", "name": 8}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {2: {"id": "x", "icon": 8}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {3: {"name": "x"}}, ERR.MISSING_PARAMETER),
        (CMD.MAKE_CREDENTIAL, {3: {"id": "x"}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {3: {"id": b"x", "name": 8}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {3: {"id": b"x", "displayName": 8}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {3: {"id": b"x", "icon": 8}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {4: ["wrong"]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {5: ["wrong"]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {5: [{"id": b"x"}]}, ERR.MISSING_PARAMETER),
        (CMD.MAKE_CREDENTIAL, {5: [{"type": "public-key"}]}, ERR.MISSING_PARAMETER),
        (CMD.MAKE_CREDENTIAL, {5: [{"type": "public-key", "id": "x"}]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {5: [{"type": b"public-key", "id": b"x"}]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {5: [{**DESCRIPTORS[0], "transports": "usb"}]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {5: [{**DESCRIPTORS[0], "transports": [1]}]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {6: {"credProtect": True}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {6: {"hmac-secret": 1}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {6: {"credBlob": "x"}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {6: {"minPinLength": 1}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {6: {"largeBlobKey": 1}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {6: {1: True}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {7: {"rk": 1}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.MAKE_CREDENTIAL, {7: {1: True}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.GET_ASSERTION, {1: ""}, ERR.INVALID_LENGTH),
        (CMD.GET_ASSERTION, {2: b""}, ERR.INVALID_LENGTH),
        (CMD.GET_ASSERTION, {3: ["wrong"]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.GET_ASSERTION, {3: [{"id": b"x"}]}, ERR.MISSING_PARAMETER),
        (CMD.GET_ASSERTION, {3: [{"type": "public-key", "id": 42}]}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.GET_ASSERTION, {4: {"hmac-secret": True}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.GET_ASSERTION, {4: {"credBlob": b""}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.GET_ASSERTION, {5: {"up": "yes"}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.CLIENT_PIN, {2: 0}, ERR.INVALID_SUBCOMMAND),
        (CMD.CLIENT_PIN, {2: 8}, ERR.INVALID_SUBCOMMAND),
        (CMD.CLIENT_PIN, {2: 10}, ERR.INVALID_SUBCOMMAND),
        (CMD.CLIENT_PIN, {1: 0}, ERR.INVALID_PARAMETER),
        (CMD.CLIENT_PIN, {1: 3}, ERR.INVALID_PARAMETER),
        (CMD.CLIENT_PIN, {2: 2, 1: 7}, ERR.INVALID_PARAMETER),
        (CMD.CLIENT_PIN, {3: {}}, ERR.INVALID_PARAMETER),
        (CMD.CLIENT_PIN, {3: KEY}, ERR.INVALID_PARAMETER),  # no point of the curve
        (CMD.CLIENT_PIN, {3: {**KEY, 1: 1}}, ERR.INVALID_PARAMETER),
        (CMD.CLIENT_PIN, {3: {**KEY, 3: -7}}, ERR.INVALID_PARAMETER),
        (CMD.CLIENT_PIN, {3: {**KEY, -2: bytes(31)}}, ERR.INVALID_PARAMETER),
        (CMD.CLIENT_PIN, {3: {**KEY, -2: "x"}}, ERR.INVALID_PARAMETER),
        (CMD.CREDENTIAL_MGMT, {1: 0}, ERR.INVALID_SUBCOMMAND),
        (CMD.CREDENTIAL_MGMT, {1: 8}, ERR.INVALID_SUBCOMMAND),
        (CMD.CREDENTIAL_MGMT, {3: 5}, ERR.INVALID_PARAMETER),
        (CMD.CREDENTIAL_MGMT, {}, ERR.PIN_AUTH_INVALID),
        (CMD.CREDENTIAL_MGMT, {1: 4}, ERR.MISSING_PARAMETER),
        (CMD.CREDENTIAL_MGMT, {1: 4, 2: {1: "x"}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.CREDENTIAL_MGMT, {1: 6, 2: {2: {"id": b"x"}}}, ERR.MISSING_PARAMETER),
        (CMD.CREDENTIAL_MGMT, {1: 7, 2: {2: DESCRIPTORS[0]}}, ERR.MISSING_PARAMETER),
        (CMD.CONFIG, {1: 0}, ERR.INVALID_SUBCOMMAND),
        (CMD.CONFIG, {1: 1}, ERR.INVALID_SUBCOMMAND),
        (CMD.CONFIG, {1: 4}, ERR.INVALID_SUBCOMMAND),
        (CMD.CONFIG, {1: 255}, ERR.INVALID_SUBCOMMAND),
        (CMD.CONFIG, {2: {1: "4"}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.CONFIG, {2: {2: [1]}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.CONFIG, {2: {3: 1}}, ERR.CBOR_UNEXPECTED_TYPE),
        (CMD.LARGE_BLOBS, {2: b"x"}, ERR.INVALID_PARAMETER),
        (CMD.LARGE_BLOBS, {4: 1}, ERR.INVALID_PARAMETER),
        (CMD.LARGE_BLOBS, {5: b"x"}, ERR.INVALID_PARAMETER),
        (CMD.LARGE_BLOBS, {6: 2}, ERR.INVALID_PARAMETER),
        (CMD.LARGE_BLOBS, {3: 18}, ERR.INVALID_PARAMETER),
        (CMD.LARGE_BLOBS, {1: MAX_FRAGMENT + 1}, ERR.INVALID_LENGTH),
    ],
)
def test_values_that_are_wrong(lab: Lab, command: int, change: dict[int, Any], expected: ERR) -> None:
    assert status(lab, command, {**FULL[command], **change}) is expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, ERR.INVALID_PARAMETER),
        ({3: 0}, ERR.INVALID_PARAMETER),
        ({1: 10}, ERR.INVALID_PARAMETER),
        ({2: b"x" * 17, 3: 0}, ERR.INVALID_PARAMETER),
        ({2: b"x", 3: 0, 4: 16}, ERR.INVALID_PARAMETER),
        ({2: b"x", 3: 0, 4: MAX_LARGE_BLOBS + 1}, ERR.LARGE_BLOB_STORAGE_FULL),
        ({2: b"x" * (MAX_FRAGMENT + 1), 3: 0, 4: 3000}, ERR.INVALID_LENGTH),
        ({2: b"x" * 18, 3: 0, 4: 17}, ERR.INVALID_PARAMETER),
        ({2: b"x", 3: 5}, ERR.INVALID_SEQ),
        ({2: b"x", 3: 5, 4: 20}, ERR.INVALID_PARAMETER),
        ({2: b"x" * 17, 3: 0, 4: 17}, ERR.INTEGRITY_FAILURE),
    ],
)
def test_large_blobs_that_are_wrong(lab: Lab, members: dict[int, Any], expected: ERR) -> None:
    before = lab.state.large_blobs()
    assert status(lab, CMD.LARGE_BLOBS, members) is expected
    assert lab.state.large_blobs() == before


def test_large_blobs_are_written_with_a_token_where_there_is_a_pin(pin_lab: Lab) -> None:
    write = {2: b"x" * 17, 3: 0, 4: 17}
    assert status(pin_lab, CMD.LARGE_BLOBS, write) is ERR.PUAT_REQUIRED
    assert status(pin_lab, CMD.LARGE_BLOBS, {**write, 5: bytes(32)}) is ERR.MISSING_PARAMETER
    assert status(pin_lab, CMD.LARGE_BLOBS, {**write, 5: bytes(32), 6: 9}) is ERR.INVALID_PARAMETER
    assert status(pin_lab, CMD.LARGE_BLOBS, {**write, 5: bytes(32), 6: 2}) is ERR.PIN_AUTH_INVALID


@pytest.mark.parametrize("command", [CMD.CREDENTIAL_MGMT, CMD.CONFIG])
def test_a_proof_is_wanted_where_there_is_a_pin(pin_lab: Lab, command: int) -> None:
    members = FULL[command]
    assert status(pin_lab, command, {1: members[1], 2: members[2], 3: 2}) is ERR.PUAT_REQUIRED
    assert status(pin_lab, command, {1: members[1], 2: members[2], 4: bytes(32)}) is ERR.MISSING_PARAMETER
    assert status(pin_lab, command, members) is ERR.PIN_AUTH_INVALID


@pytest.mark.parametrize(
    "content",
    [
        "",  # nothing
        "a1",  # no end
        "a101",
        "a10100" + "00",  # bytes after the end
        "bf0100ff",  # indefinite
        "a1180101",  # 1, in two bytes
        "a101190001",  # 1, in three bytes
        "a202000100",  # keys out of order
        "a201000100",  # one key twice
        "a2616100" + "0100",  # text before numbers
        "a101c001",  # a tag
        "a101f8ff",  # a simple value
        "a1017f6161ff",  # indefinite text
        "a10161ff",  # no UTF-8
        "a1018181818101",  # too deep
        "a1f500",  # true as a key
        "a101" + "9b7fffffffffffffff",  # more items than bytes
    ],
)
@pytest.mark.parametrize("command", FULL)
def test_what_is_not_canonical_cbor(lab: Lab, command: int, content: str) -> None:
    assert status(lab, command, bytes.fromhex(content)) is ERR.INVALID_CBOR


@pytest.mark.parametrize("content", ["80", "00", "f6", "6161", "a1616100", "a1416100", "fb3ff0000000000000"])
@pytest.mark.parametrize("command", FULL)
def test_parameters_are_a_map_of_numbers(lab: Lab, command: int, content: str) -> None:
    assert status(lab, command, bytes.fromhex(content)) is ERR.CBOR_UNEXPECTED_TYPE


@pytest.mark.parametrize("command", [0x00, 0x03, 0x05, 0x09, 0x0E, 0x40, 0x41, 0xBF, 0xFF])
def test_unknown_commands(lab: Lab, command: int) -> None:
    assert status(lab, command, None) is ERR.INVALID_COMMAND
    assert status(lab, command, {1: 1}) is ERR.INVALID_COMMAND


@pytest.mark.parametrize("command", [CMD.GET_INFO, CMD.RESET, CMD.GET_NEXT_ASSERTION, CMD.SELECTION])
def test_commands_without_parameters_take_none(lab: Lab, command: int) -> None:
    made = lab.resident()
    assert status(lab, command, {}) is ERR.INVALID_LENGTH
    lab.get(made)


def test_messages_have_a_length(lab: Lab) -> None:
    assert lab.authenticator.process(b"") == bytes((ERR.INVALID_LENGTH,))
    assert lab.authenticator.process(b"\x01" + bytes(MAX_MESSAGE)) == bytes((ERR.REQUEST_TOO_LARGE,))
    fits = {**FULL[CMD.MAKE_CREDENTIAL], 200: b""}
    for name in (8, 9, 10):
        del fits[name]
    fits[200] = bytes(MAX_MESSAGE - len(cbor.encode(fits)) - 1 - 2)
    assert len(cbor.encode(fits)) == MAX_MESSAGE - 1
    assert lab.send(CMD.MAKE_CREDENTIAL, fits)[1] == "packed"


def test_unknown_members_are_left_out(lab: Lab) -> None:
    answer = lab.send(CMD.MAKE_CREDENTIAL, {1: HASH, 2: RP, 3: USER, 4: ES256, 77: {"x": [1]}})
    assert answer[1] == "packed"


def test_parameters_nobody_could_have_signed(pin_lab: Lab) -> None:
    null = bytes.fromhex("a40101" + "02a101f6" + "0302" + "045820") + bytes(32)
    assert status(pin_lab, CMD.CREDENTIAL_MGMT, null) is ERR.CBOR_UNEXPECTED_TYPE


_scalars = st.one_of(st.integers(-(2**64), 2**64 - 1), st.binary(max_size=40), st.text(max_size=20), st.booleans())
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.integers(-9, 9), st.text(max_size=5)), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(command=st.sampled_from(sorted(FULL)), members=st.dictionaries(st.integers(0, 11), _values, max_size=8))
def test_whatever_comes_is_answered_by_a_status(lab: Lab, command: int, members: dict[int, Any]) -> None:
    answer = lab.authenticator.process(bytes((command,)) + cbor.encode({**FULL[command], **members}))
    assert answer[0] == 0 or answer[0] in set(ERR)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(message=st.binary(max_size=60))
def test_whatever_bytes_come_are_answered_by_a_status(lab: Lab, message: bytes) -> None:
    answer = lab.authenticator.process(message)
    assert answer[0] in set(ERR) | {0}
