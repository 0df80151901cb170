"""UAFV1TLV: tag (u16 LE), length (u16 LE), value (UAF authenticator commands 4).

A tag with bit 0x1000 is composite: its value is elements.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.registry import TAG_COMPOSITE, TAG_CRITICAL, Tag

MAX_DEPTH = 8

HEADER = struct.Struct("<HH")
_NAMES = {int(tag): tag.name for tag in Tag}


class Element(NamedTuple):
    """One element of a TLV tree; `value` is bytes, or the inner elements of a composite tag."""

    tag: int
    value: "bytes | tuple[Element, ...]"


# Where one element lies in a buffer: (tag, start of its header, start of its value, end). A plain tuple, because
# eleven named ones cost a tenth of an ECDSA verification.
Span = tuple[int, int, int, int]


def tag_name(tag: int) -> str:
    """Return the registry's name of `tag`, or its number in hexadecimal."""
    return _NAMES.get(tag) or f"0x{tag:04X}"


def is_critical(tag: int) -> bool:
    """Tell whether a receiver that does not know `tag` must refuse the message (bit 0x2000)."""
    return bool(tag & TAG_CRITICAL)


def spans(data: bytes, start: int, end: int, where: str) -> list[Span]:
    """Return the elements that lie one after the other in `data[start:end]`, without descending.

    Raises:
        MalformedError: a header is cut off, or a length runs past the end.
    """
    found = []
    unpack = HEADER.unpack_from
    while start < end:
        value = start + 4
        if value > end:
            raise MalformedError(where, f"{end - start} bytes left where a tag and length need 4")
        tag, length = unpack(data, start)
        stop = value + length
        if stop > end:
            raise MalformedError(f"{where}/{tag_name(tag)}", f"length {length} runs {stop - end} bytes past the end")
        found.append((tag, start, value, stop))
        start = stop
    return found


def parse(data: bytes, where: str = "$") -> tuple[Element, ...]:
    """Return `data` as a tree of elements, tags known or not.

    Raises:
        MalformedError: truncated or overlong elements, or composites nested deeper than MAX_DEPTH.
    """
    return _parse(data, 0, len(data), where, 0)


def _parse(data: bytes, start: int, end: int, where: str, depth: int) -> tuple[Element, ...]:
    if depth > MAX_DEPTH:
        raise MalformedError(where, f"nested deeper than {MAX_DEPTH}")
    elements = []
    for tag, _, value, stop in spans(data, start, end, where):
        if tag & TAG_COMPOSITE:
            elements.append(Element(tag, _parse(data, value, stop, f"{where}/{tag_name(tag)}", depth + 1)))
        else:
            elements.append(Element(tag, data[value:stop]))
    return tuple(elements)


def encode(elements: Iterable[Element]) -> bytes:
    """Return the bytes of `elements`; the exact inverse of `parse`.

    Raises:
        ValueError: a value is longer than 65,535 bytes.
    """
    return b"".join(element(tag, value if isinstance(value, bytes) else encode(value)) for tag, value in elements)


def sequence(*elements: tuple[int, bytes]) -> bytes:
    """Return elements (tag, value) encoded one after the other.

    Raises:
        ValueError: a value is longer than 65,535 bytes.
    """
    pack = HEADER.pack
    try:
        return b"".join([part for tag, value in elements for part in (pack(tag, len(value)), value)])
    except struct.error:
        raise ValueError("a value does not fit a TLV element") from None


def element(tag: int, value: bytes) -> bytes:
    """Return one encoded element.

    Raises:
        ValueError: the value is longer than 65,535 bytes.
    """
    if len(value) > 0xFFFF:
        raise ValueError(f"{tag_name(tag)}: {len(value)} bytes do not fit a TLV element")
    return HEADER.pack(tag, len(value)) + value
