"""Command APDUs as a card reads them (ISO/IEC 7816-3, 12.1.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord, parse_command


@pytest.mark.parametrize(
    ("raw", "data", "ne", "extended"),
    [
        pytest.param("00010203", "", 0, False, id="1"),
        pytest.param("0001020310", "", 16, False, id="2S"),
        pytest.param("0001020300", "", 256, False, id="2S, as much as there is"),
        pytest.param("0001020302aabb", "aabb", 0, False, id="3S"),
        pytest.param("0001020302aabb10", "aabb", 16, False, id="4S"),
        pytest.param("0001020302aabb00", "aabb", 256, False, id="4S, as much as there is"),
        pytest.param("00010203000110", "", 0x110, True, id="2E"),
        pytest.param("00010203000000", "", 0x10000, True, id="2E, as much as there is"),
        pytest.param("00010203000002aabb", "aabb", 0, True, id="3E"),
        pytest.param("00010203000002aabb0110", "aabb", 0x110, True, id="4E"),
        pytest.param("00010203000002aabb0000", "aabb", 0x10000, True, id="4E, as much as there is"),
    ],
)
def test_every_case_is_read(raw: str, data: str, ne: int, extended: bool) -> None:
    assert parse_command(bytes.fromhex(raw)) == Command(0, 1, 2, 3, bytes.fromhex(data), ne, extended)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "00",
        "000102",
        "0001020302aa",
        "0001020302aabb1000",
        "000102030002",
        "000102030000020a",
        "00010203000002aabb00",
        "00010203000002aabb000000",
        "000102030000001000",
        "0001020300000000",
    ],
)
def test_contradicting_lengths_are_refused(raw: str) -> None:
    with pytest.raises(ApduError) as refused:
        parse_command(bytes.fromhex(raw))
    assert refused.value.status == StatusWord.WRONG_LENGTH


@given(st.binary(min_size=1, max_size=600), st.integers(0, 0x10000))
def test_what_a_host_writes_is_what_the_card_reads(data: bytes, ne: int) -> None:
    extended = len(data) > 255 or ne > 256
    length = b"\0" + len(data).to_bytes(2) if extended else bytes([len(data)])
    expected = (ne % 0x10000).to_bytes(2) if extended else bytes([ne % 0x100])
    raw = b"\0\xcb\x3f\xff" + length + data + (expected if ne else b"")
    assert parse_command(raw) == Command(0, 0xCB, 0x3F, 0xFF, data, ne, extended)
