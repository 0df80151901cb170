"""BER-TLV as smartcards use it (ISO/IEC 7816-4, 5.2.2): tags of one to three bytes, definite lengths up to 65,535."""


class TlvError(ValueError):
    """The bytes are no BER-TLV data objects, or not those that were to be there."""


def encode(tag: int, value: bytes) -> bytes:
    """Return one data object: tag, shortest length, value of at most 65,535 bytes."""
    size = len(value)
    if size < 0x80:
        length = bytes([size])
    elif size < 0x100:
        length = bytes([0x81, size])
    else:
        length = b"\x82" + size.to_bytes(2)
    return tag.to_bytes((tag.bit_length() + 7) // 8 or 1) + length + value


def parse(data: bytes) -> list[tuple[int, bytes]]:
    """Split `data` into (tag, value) pairs; values of constructed objects are not parsed further.

    Raises:
        TlvError: a tag or length is cut off or of a form smartcards do not use, or a value is shorter than its length.
    """
    objects = []
    offset = 0
    while offset < len(data):
        tag, offset = _tag(data, offset)
        size, offset = _length(data, offset)
        if offset + size > len(data):
            raise TlvError(f"the value of tag {tag:X} is cut off")
        objects.append((tag, data[offset : offset + size]))
        offset += size
    return objects


def fields(data: bytes) -> dict[int, bytes]:
    """Return the objects in `data` by tag. Raises TlvError, also where a tag stands twice."""
    objects = parse(data)
    found = dict(objects)
    if len(found) != len(objects):
        raise TlvError("a data object is given twice")
    return found


def only(data: bytes, tag: int) -> bytes:
    """Return the value of the one data object `data` is. Raises TlvError where it is another, or more than one."""
    objects = parse(data)
    if len(objects) != 1 or objects[0][0] != tag:
        raise TlvError(f"not one data object with tag {tag:X}")
    return objects[0][1]


def _tag(data: bytes, offset: int) -> tuple[int, int]:
    end = offset + 1
    if data[offset] & 0x1F == 0x1F:
        while end < len(data) and data[end] & 0x80:
            end += 1
        end += 1
    if end > len(data) or end - offset > 3:
        raise TlvError("a tag is cut off or longer than three bytes")
    return int.from_bytes(data[offset:end]), end


def _length(data: bytes, offset: int) -> tuple[int, int]:
    if offset >= len(data):
        raise TlvError("a length is missing")
    first = data[offset]
    if first < 0x80:
        return first, offset + 1
    end = offset + 1 + (first & 0x7F)
    if first not in (0x81, 0x82) or end > len(data):
        raise TlvError("a length is cut off, indefinite or longer than two bytes")
    return int.from_bytes(data[offset + 1 : end]), end
