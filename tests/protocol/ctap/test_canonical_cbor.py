"""CTAP2 canonical CBOR (CTAP 2.1, section 8) held against python-fido2's writer."""

from typing import Any

import pytest
from fido2 import cbor
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.ctap.canonical_cbor import CborError, decode, decode_first

_keys = st.one_of(st.integers(-(2**64), 2**64 - 1), st.text(max_size=30), st.binary(max_size=30))
_values = st.recursive(
    st.one_of(_keys, st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_keys, inner, max_size=4)),
    max_leaves=12,
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(_values)
def test_what_is_written_is_read(value: Any) -> None:  # noqa: ANN401
    encoded = cbor.encode(value)
    if depth(value) > 4:
        with pytest.raises(CborError, match="levels"):
            decode(encoded)
    else:
        assert decode(encoded) == value


@given(_values.filter(lambda value: depth(value) <= 4), st.binary(max_size=3))
def test_an_item_ends_where_it_ends_whatever_follows(value: Any, after: bytes) -> None:  # noqa: ANN401
    encoded = cbor.encode(value)
    assert decode_first(b"xx" + encoded + after, 2) == (value, 2 + len(encoded))


@given(st.binary(max_size=40))
def test_what_is_read_is_what_would_be_written(data: bytes) -> None:
    try:
        value = decode(data)
    except CborError:
        return
    if not has_more_than_ctap(value):
        assert cbor.encode(value) == data  # type: ignore[arg-type]  # checked at run time


def has_more_than_ctap(value: object) -> bool:
    """Tell whether a null or a float is somewhere, which python-fido2 does not write."""
    if isinstance(value, dict):
        return any(map(has_more_than_ctap, value.values()))
    if isinstance(value, list):
        return any(map(has_more_than_ctap, value))
    return value is None or isinstance(value, float)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("f6", None),
        ("f7", None),
        ("f93c00", 1.0),
        ("fa3f800000", 1.0),
        ("fb3ff0000000000000", 1.0),
        ("1bffffffffffffffff", 2**64 - 1),
        ("3bffffffffffffffff", -(2**64)),
        ("a3010020006161f4", {1: 0, -1: 0, "a": False}),
    ],
)
def test_examples(data: str, value: object) -> None:
    assert decode(bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "too early"),
        ("18", "too early"),
        ("42ff", "too early"),
        ("f93c", "too early"),
        ("820101ff", "after the item"),
        ("1817", "shortest"),
        ("1900ff", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("5801ff", "shortest"),
        ("1c", "indefinite"),
        ("1f", "indefinite"),
        ("9fff", "indefinite"),
        ("5f41ffff", "indefinite"),
        ("c000", "tag"),
        ("e0", "no meaning"),
        ("f800", "no meaning"),
        ("ff", "no meaning"),
        ("61ff", "UTF-8"),
        ("a201010102", "out of order"),
        ("a301000261610361", "too early"),
        ("a202010101", "out of order"),
        ("a26161010101", "out of order"),
        ("a262616101616201", "out of order"),
        ("a18001", "map key"),
        ("a1a001", "map key"),
        ("a1f401", "map key"),
        ("a1f601", "map key"),
        ("a1f93c0001", "map key"),
        ("8181818180", "levels"),
        ("9bffffffffffffffff", "too early"),
        ("bbffffffffffffffff", "too early"),
        ("5bffffffffffffffff", "too early"),
    ],
)
def test_what_is_refused(data: str, why: str) -> None:
    with pytest.raises(CborError, match=why):
        decode(bytes.fromhex(data))
