from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import assertions
from fidoloop.protocol.uaf.usual_layout import SignedDataTemplate, read_usual_layout

from ..builders import AUTHENTICATION, REGISTRATION, Assertion, numbered, tlv

USUAL = AUTHENTICATION.with_(signature=b"s" * 64)


def outcome(parse: Any, raw: bytes) -> object:  # noqa: ANN401 - either parser
    try:
        return parse(raw, "$")
    except MalformedError:
        return None


def both(raw: bytes) -> tuple[object, object]:
    """Returns what the reader in use and the one for any layout make of `raw`."""
    return outcome(assertions.parse_authentication_assertion, raw), outcome(assertions._parse_any_layout, raw)


@pytest.mark.parametrize(
    "assertion",
    numbered(
        USUAL,
        USUAL.with_(mode=2, tc_hash=b"t" * 32),
        USUAL.with_(nonce=b"", key_id=b"", signature=b""),
        USUAL.with_(nonce=b"n" * 64, key_id=b"k" * 2048, signature=b"s" * 72, tc_hash=b"t" * 5),
        USUAL.with_(aaid=b"f10b#0113", version=0xFFFF, mode=255, algorithm=0xFFFF, counters=(2**32 - 1, 0)),
    ),
)
def test_what_is_laid_out_as_usual_is_read_as_any_other(assertion: Assertion) -> None:
    raw = assertion.encode()
    assert read_usual_layout(raw) is not None
    usual, general = both(raw)
    assert usual == general
    assert usual is not None


@pytest.mark.parametrize(
    "raw",
    numbered(
        b"",
        USUAL.encode()[:-1],
        USUAL.encode() + b"\0",
        USUAL.with_(hash=b"h" * 31).encode(),
        USUAL.with_(aaid=b"F10B#01134").encode(),
        USUAL.with_(inside=tlv(0x3E12)).encode(),
        USUAL.with_(beside=tlv(0x0999)).encode(),
        REGISTRATION.encode(),
    ),
)
def test_whatever_else_is_left_to_the_general_reader(raw: bytes) -> None:
    assert read_usual_layout(raw) is None
    usual, general = both(raw)
    assert usual == general


@given(st.data())
def test_both_readers_agree_on_altered_bytes(data: st.DataObject) -> None:
    raw = bytearray(USUAL.with_(tc_hash=b"t" * data.draw(st.sampled_from([0, 32]))).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    usual, general = both(bytes(raw))
    assert usual == general


def test_both_readers_agree_on_every_changed_header_byte() -> None:
    raw = USUAL.encode()
    for offset in range(len(raw)):
        for value in (0, 1, 0xFF, raw[offset] ^ 1, raw[offset] ^ 0x80, (raw[offset] + 4) & 0xFF):
            altered = raw[:offset] + bytes([value]) + raw[offset + 1 :]
            usual, general = both(altered)
            assert usual == general, offset


@pytest.mark.parametrize("lengths", [(15, 32, 0), (17, 32, 0), (16, 31, 0), (16, 32, 32), (16, 0, 32), (0, 0, 0)])
def test_a_template_takes_no_value_of_another_length(lengths: tuple[int, int, int]) -> None:
    template = SignedDataTemplate(b"F10B#0113", (1, 1, 1), key_id=b"k" * 32, nonce_bytes=16, hash_bytes=(32, 0))
    assert len(template.fill(bytes(16), bytes(32), b"", 1)) == 130
    nonce, fc_hash, content_hash = map(bytes, lengths)
    with pytest.raises(ValueError, match="length"):
        template.fill(nonce, fc_hash, content_hash, 1)
