import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import tlv
from fidoloop.protocol.uaf.tlv import Element

PLAIN_TAGS = st.integers(0, 0xFFFF).map(lambda tag: tag & ~0x1000)
COMPOSITE_TAGS = st.integers(0, 0xFFFF).map(lambda tag: tag | 0x1000)
LEAVES = st.builds(Element, PLAIN_TAGS, st.binary(max_size=12))
ELEMENTS = st.recursive(
    LEAVES, lambda inner: st.builds(Element, COMPOSITE_TAGS, st.lists(inner, max_size=3).map(tuple)), max_leaves=8
).filter(lambda element: nesting(element) <= tlv.MAX_DEPTH)


def nesting(element: Element) -> int:
    return 0 if isinstance(element.value, bytes) else 1 + max(map(nesting, element.value), default=0)


@given(st.lists(ELEMENTS, max_size=4).map(tuple))
def test_parsing_undoes_encoding(elements: tuple[Element, ...]) -> None:
    assert tlv.parse(tlv.encode(elements)) == elements


@given(st.binary(max_size=60) | st.lists(ELEMENTS, max_size=3).map(tlv.encode))
def test_what_parses_encodes_to_the_same_bytes(raw: bytes) -> None:
    try:
        elements = tlv.parse(raw)
    except MalformedError:
        return
    assert tlv.encode(elements) == raw


@given(st.lists(ELEMENTS, min_size=1, max_size=3).map(tlv.encode), st.data())
def test_a_cut_in_the_last_element_is_malformed(raw: bytes, data: st.DataObject) -> None:
    last = tlv.spans(raw, 0, len(raw), "$")[-1]
    cut = data.draw(st.integers(last[1] + 1, len(raw) - 1))
    with pytest.raises(MalformedError):
        tlv.parse(raw[:cut])


def test_integers_are_little_endian() -> None:
    assert tlv.element(0x3E01, b"ab") == bytes.fromhex("013e0200") + b"ab"


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ("01", "$"),
        ("012e00", "$"),
        ("092e0500aabb", "$/KEYID"),
        ("013e0400092e0100", "$/UAFV1_REG_ASSERTION/KEYID"),
        ("01000100", "$/0x0001"),
    ],
)
def test_an_error_says_where(raw: str, where: str) -> None:
    with pytest.raises(MalformedError) as caught:
        tlv.parse(bytes.fromhex(raw))
    assert caught.value.where == where


def test_depth_is_bounded() -> None:
    raw = b""
    for _ in range(tlv.MAX_DEPTH):
        raw = tlv.element(0x3E01, raw)
    assert tlv.encode(tlv.parse(raw)) == raw
    with pytest.raises(MalformedError, match="nested deeper"):
        tlv.parse(tlv.element(0x3E01, raw))


def test_a_value_that_does_not_fit_is_refused() -> None:
    assert len(tlv.element(1, bytes(0xFFFF))) == 0x10003
    with pytest.raises(ValueError, match="do not fit"):
        tlv.element(1, bytes(0x10000))


@pytest.mark.parametrize(("tag", "critical"), [(0x2E09, True), (0x3E11, True), (0x1234, False), (0x0104, False)])
def test_the_critical_bit(tag: int, critical: bool) -> None:
    assert tlv.is_critical(tag) is critical
