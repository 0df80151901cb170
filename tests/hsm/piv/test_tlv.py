import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.hsm.piv import tlv

TAGS = st.sampled_from([0x53, 0x70, 0x7C, 0x80, 0x5C, 0xFE, 0x7F49, 0x5FC105, 0x5FFF01])


@given(st.lists(st.tuples(TAGS, st.binary(max_size=400)), max_size=5))
def test_what_is_encoded_is_parsed(elements: list[tuple[int, bytes]]) -> None:
    assert tlv.parse(b"".join(tlv.encode(tag, value) for tag, value in elements)) == elements


@given(st.binary(max_size=40))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        elements = tlv.parse(data)
    except tlv.TlvError:
        return
    assert sum(len(value) for _, value in elements) <= len(data)


@pytest.mark.parametrize(
    ("size", "head"), [(0, "00"), (127, "7f"), (128, "8180"), (255, "81ff"), (256, "820100"), (70000, "83011170")]
)
def test_lengths_are_as_short_as_they_can_be(size: int, head: str) -> None:
    assert tlv.encode(0x53, bytes(size))[1:].startswith(bytes.fromhex(head))
    assert tlv.only(tlv.encode(0x53, bytes(size)), 0x53) == bytes(size)


def test_a_length_may_be_longer_than_it_needs_to_be() -> None:
    assert tlv.parse(bytes.fromhex("5382000141")) == [(0x53, b"A")]


@pytest.mark.parametrize(
    "data",
    ["53", "5302aa", "5380", "5381", "538200", "5384000000aa", "7f", "7f80", "7f808001", "7f80808001", "5301aa53"],
)
def test_what_is_cut_off_or_indefinite_is_refused(data: str) -> None:
    with pytest.raises(tlv.TlvError):
        tlv.parse(bytes.fromhex(data))


@pytest.mark.parametrize("data", ["", "5400", "53005300", "530053"])
def test_one_element_is_exactly_one(data: str) -> None:
    with pytest.raises(tlv.TlvError):
        tlv.only(bytes.fromhex(data), 0x53)


def test_fields_stand_once() -> None:
    assert tlv.fields(bytes.fromhex("80010181010a")) == {0x80: b"\1", 0x81: b"\n"}
    with pytest.raises(tlv.TlvError, match="twice"):
        tlv.fields(bytes.fromhex("800101800102"))
