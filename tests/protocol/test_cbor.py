"""The strict CBOR reader, against fido2's writer and what a writer must not do."""

from typing import Any

import pytest
from fido2 import cbor as foreign
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import cbor
from fidoloop.protocol.errors import MalformedError

SCALARS = st.one_of(st.integers(-(2**64), 2**64 - 1), st.binary(max_size=300), st.text(max_size=300), st.booleans())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.integers(-1000, 1000), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=8,
)


def depth(value: Any) -> int:  # noqa: ANN401 - any value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


@given(VALUES, st.binary(max_size=4))
def test_what_a_foreign_writer_wrote_is_read_and_ends_where_it_ends(value: Any, after: bytes) -> None:  # noqa: ANN401
    written = foreign.encode(value)
    if depth(value) > cbor.MAX_DEPTH:
        with pytest.raises(MalformedError, match="nested"):
            cbor.decode(written)
        return
    assert cbor.decode(written) == value
    assert cbor.decode_first(b"xx" + written + after, 2) == (value, 2 + len(written))


@given(st.binary(max_size=64))
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except MalformedError:
        return
    assert cbor.decode(foreign.encode(value)) == value


@given(VALUES.filter(lambda value: depth(value) <= cbor.MAX_DEPTH), st.data())
def test_what_is_cut_short_is_refused(value: Any, data: st.DataObject) -> None:  # noqa: ANN401
    written = foreign.encode(value)
    with pytest.raises(MalformedError):
        cbor.decode(written[: data.draw(st.integers(0, len(written) - 1))])


@pytest.mark.parametrize(
    ("encoded", "what"),
    [
        ("", "cut short"),
        ("1817", "more bytes"),
        ("190017", "more bytes"),
        ("1a0000ffff", "more bytes"),
        ("1b00000000ffffffff", "more bytes"),
        ("5801", "more bytes"),
        ("5f4100ff", "indefinite"),
        ("9fff", "indefinite"),
        ("bfff", "indefinite"),
        ("f6", "no place"),
        ("f7", "no place"),
        ("f90000", "no place"),
        ("fb0000000000000000", "no place"),
        ("f814", "no place"),
        ("c001", "no place"),
        ("a1f501", "key"),
        ("a1410001", "key"),
        ("a1800001", "key"),
        ("a201010101", "twice"),
        ("61ff", "UTF-8"),
        ("5bffffffffffffffff", "cut short"),
        ("9bffffffffffffffff", "cut short"),
        ("bbffffffffffffffff", "cut short"),
        ("0000", "follow"),
    ],
)
def test_what_ctap_does_not_write_is_refused(encoded: str, what: str) -> None:
    with pytest.raises(MalformedError, match=what):
        cbor.decode(bytes.fromhex(encoded))


def test_keys_may_stand_in_any_order() -> None:
    assert cbor.decode(bytes.fromhex("a2026162016161")) == {2: "b", 1: "a"}
