"""The framing of docs/ble.md: what is written is read, anything else is refused."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.bridge.ble import profile
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.protocol import jose, outofband
from fidoloop.protocol.outofband import MAX_PAYLOAD_CHARACTERS


@given(st.binary(min_size=1, max_size=600))
def test_info_is_read_back_and_fits_its_payload_only(payload: bytes) -> None:
    info = profile.Info.from_bytes(profile.Info.of(payload).to_bytes())
    assert info.matches(payload)
    assert not info.matches(payload + b"x")
    assert not info.matches(bytes([payload[0] ^ 1]) + payload[1:])


@given(st.binary(max_size=50))
def test_any_other_info_is_refused(value: bytes) -> None:
    try:
        info = profile.Info.from_bytes(value)
    except MalformedPayloadError:
        return
    assert info.to_bytes() == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "0 bytes, not 35"),
        (bytes([2, 0, 1]) + bytes(32), "version 2"),
        (bytes([1, 0, 0]) + bytes(32), "a payload of 0 bytes"),
        (bytes([1, 0x80, 1]) + bytes(32), "a payload of 32769 bytes"),
        (bytes([1, 0, 1]) + bytes(33), "36 bytes"),
    ],
)
def test_a_wrong_info_is_named(value: bytes, said: str) -> None:
    with pytest.raises(MalformedPayloadError, match=said):
        profile.Info.from_bytes(value)


@pytest.mark.parametrize(("length", "taken"), [(0, False), (1, True), (MAX_PAYLOAD_CHARACTERS, True), (32769, False)])
def test_a_station_serves_what_a_phone_takes(length: int, taken: bool) -> None:
    if taken:
        assert profile.Info.of(bytes(length)).length == length
    else:
        with pytest.raises(MalformedPayloadError):
            profile.Info.of(bytes(length))


@given(st.binary(min_size=1, max_size=2000), st.integers(23, 517))
def test_chunks_make_the_payload_again(payload: bytes, mtu: int) -> None:
    together = b""
    while len(together) < len(payload):
        value = profile.chunk(payload, len(together), mtu)
        assert len(value) <= mtu - profile.ATT_HEADER_BYTES
        offset, part = profile.split_chunk(value)
        assert offset == len(together)
        together += part
    assert together == payload


@pytest.mark.parametrize("value", [b"", b"\x00", b"\x00\x00"])
def test_an_empty_chunk_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedPayloadError, match="empty notification"):
        profile.split_chunk(value)


@pytest.mark.parametrize(
    ("value", "offset"),
    [(b"\x00\x00", 0), (b"\x00\x63", 99), (b"\x00\x64", None), (b"\xff\xff", None), (b"", None), (b"\x00" * 3, None)],
)
def test_an_offset_is_within_the_payload(value: bytes, offset: int | None) -> None:
    assert profile.decode_offset(value, 100) == offset


def test_short_ids_are_told_from_other_names() -> None:
    made = {profile.new_short_id() for _ in range(50)}
    assert len(made) > 40
    assert {profile.short_id_in(profile.local_name(one)) for one in made} == made
    for name in (None, "", "FL-", "FL-ABC", "FL-ABCDE", "FL-AB0D", "FL-abcd", "ABCD", "XX-ABCD", "FL-AB\x1bD"):
        assert profile.short_id_in(name) is None


@pytest.mark.parametrize("form", [lambda text: text, outofband.qr_text, lambda text: outofband.link("x://y", text)])
def test_a_dispatchs_response_is_served_as_its_json(form: Callable[[str], str]) -> None:
    recipient = jose.public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
    payload = outofband.encode_payload({"token": "t", "redeem_url": "https://localhost/"}, recipient)
    assert profile.served_payload(form(payload)).decode() == payload


@pytest.mark.parametrize(
    ("dispatched", "said"),
    [
        (outofband.qr_text(outofband.encode_payload({"token": "t"}, None)), "not encrypted"),
        ("", "not a dispatched token"),
        ("iVBORw0KGgo", "not a dispatched token"),
        ("x" * 40_000, "not a dispatched token"),
    ],
)
def test_what_is_no_encrypted_token_is_not_served(dispatched: str, said: str) -> None:
    with pytest.raises(MalformedPayloadError, match=said):
        profile.served_payload(dispatched)
