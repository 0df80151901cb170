"""BER-TLV as PIV cards speak it (ISO/IEC 7816-4 5.2.2, NIST SP 800-73-4 part 1 appendix A).

Tags have one to three bytes and stand for themselves as numbers (0x5FC105); lengths have up to three bytes after the
first, and need not be as short as they could be.
"""

from typing import Final

_MAX_LENGTH_BYTES: Final = 3


class TlvError(ValueError):
    """The bytes are no BER-TLV, or not the elements that were to be there."""


def encode(tag: int, value: bytes) -> bytes:
    """Return one element; the length is as short as it can be."""
    head = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    size = len(value)
    if size < 0x80:
        return head + bytes((size,)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return head + bytes((0x80 | len(length),)) + length + value


def parse(data: bytes) -> list[tuple[int, bytes]]:
    """Return the elements in `data`, one after the other, as (tag, value). Raises TlvError."""
    elements = []
    position = 0
    while position < len(data):
        tag, position = _tag(data, position)
        size, position = _length(data, position)
        if position + size > len(data):
            raise TlvError(f"element {tag:X} is cut off: {size} bytes announced, {len(data) - position} there")
        elements.append((tag, data[position : position + size]))
        position += size
    return elements


def fields(data: bytes) -> dict[int, bytes]:
    """Return the elements in `data` by tag. Raises TlvError, also where a tag stands twice."""
    elements = parse(data)
    found = dict(elements)
    if len(found) != len(elements):
        raise TlvError("an element stands twice")
    return found


def only(data: bytes, tag: int) -> bytes:
    """Return the value of the one element that `data` is, which has this tag. Raises TlvError."""
    elements = parse(data)
    if len(elements) != 1 or elements[0][0] != tag:
        raise TlvError(f"not one element {tag:X}")
    return elements[0][1]


def _tag(data: bytes, position: int) -> tuple[int, int]:
    start = position
    first = data[position]
    position += 1
    if first & 0x1F == 0x1F:
        while True:
            if position >= len(data) or position - start > 2:
                raise TlvError("a tag is cut off, or longer than three bytes")
            position += 1
            if not data[position - 1] & 0x80:
                break
    return int.from_bytes(data[start:position], "big"), position


def _length(data: bytes, position: int) -> tuple[int, int]:
    if position >= len(data):
        raise TlvError("an element ends before its length")
    first = data[position]
    position += 1
    if first < 0x80:
        return first, position
    count = first & 0x7F
    if not 1 <= count <= _MAX_LENGTH_BYTES:
        raise TlvError("a length is indefinite, or longer than three bytes")
    if position + count > len(data):
        raise TlvError("an element ends within its length")
    return int.from_bytes(data[position : position + count], "big"), position + count
