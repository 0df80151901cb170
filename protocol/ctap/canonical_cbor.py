"""CTAP2 canonical CBOR (CTAP 2.1, section 8): read from somebody who may not be trusted, and written.

Refused are longer encodings than the shortest, indefinite lengths, tags, map keys out of order or twice, and more than
four levels of arrays and maps. fido2.cbor writes the same, and takes a third of a signature for an assertion.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

MAX_DEPTH: Final = 4
_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_SMALLEST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
_FLOATS: Final = {25: ">e", 26: ">f", 27: ">d"}
_SIMPLE: Final[dict[int, object]] = {20: False, 21: True, 22: None, 23: None}
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(8)


class CborError(ValueError):
    """The bytes are not one item in CTAP2 canonical CBOR."""


def decode(data: bytes) -> object:
    """Return the one item that `data` is: int, bytes, str, bool, None, float, list or dict. Raises CborError."""
    item, end = _item(data, 0, 0)
    if end != len(data):
        raise CborError(f"{len(data) - end} bytes after the item")
    return item


def decode_first(data: bytes, at: int) -> tuple[object, int]:
    """Return the item that begins at `at`, and where it ends; more may follow. Raises CborError."""
    return _item(data, at, 0)


def _item(data: bytes, at: int, depth: int) -> tuple[object, int]:
    if at >= len(data):
        raise CborError("the data ends too early")
    major, value = data[at] >> 5, data[at] & 0x1F
    at += 1
    if major == _OTHER:
        return _simple_or_float(data, at, value)
    if value >= 24:
        value, at = _number(data, at, value)
    if _BYTES <= major <= _TEXT:
        end = at + value
        if end > len(data):
            raise CborError("the data ends too early")
        if major == _BYTES:
            return data[at:end], end
        try:
            return data[at:end].decode(), end
        except UnicodeDecodeError:
            raise CborError("text that is not UTF-8") from None
    if major == _UNSIGNED:
        return value, at
    if major == _NEGATIVE:
        return -1 - value, at
    return _container(data, at, major, value, depth)


def _container(data: bytes, at: int, major: int, count: int, depth: int) -> tuple[object, int]:
    if major == _TAG:
        raise CborError("a tag")
    if depth == MAX_DEPTH:
        raise CborError(f"more than {MAX_DEPTH} levels")
    # An item has at least one byte: what claims more items than there are bytes is not begun with.
    if count > len(data) - at:
        raise CborError("the data ends too early")
    return _array(data, at, count, depth + 1) if major == _ARRAY else _map(data, at, count, depth + 1)


def _number(data: bytes, at: int, info: int) -> tuple[int, int]:
    if info == 24 and at < len(data):
        if data[at] < 24:
            raise CborError("a longer encoding than the shortest")
        return data[at], at + 1
    size = _SIZES.get(info)
    if size is None:
        raise CborError("an indefinite or reserved length")
    value = int.from_bytes(_take(data, at, size), "big")
    if value < _SMALLEST[info]:
        raise CborError("a longer encoding than the shortest")
    return value, at + size


def _take(data: bytes, at: int, size: int) -> bytes:
    taken = data[at : at + size]
    if len(taken) != size:
        raise CborError("the data ends too early")
    return taken


def _simple_or_float(data: bytes, at: int, info: int) -> tuple[object, int]:
    if info in _FLOATS:
        size = _SIZES[info]
        (number,) = struct.unpack(_FLOATS[info], _take(data, at, size))
        return number, at + size
    if info not in _SIMPLE:
        raise CborError("a simple value that has no meaning")
    return _SIMPLE[info], at


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[list[object], int]:
    items = []
    for _ in range(count):
        item, at = _item(data, at, depth)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[object, object], int]:
    members: dict[object, object] = {}
    last = b""
    for _ in range(count):
        start = at
        if at < len(data) and data[at] < 24:  # what most keys are
            name: object = data[at]
            at += 1
        else:
            name, at = _item(data, at, depth)
            if type(name) not in (int, str, bytes):
                raise CborError("a map key that is neither number nor text nor bytes")
        # Numbers and strings say their kind and length first, so that the canonical order is that of their encodings.
        encoded = data[start:at]
        if encoded <= last:
            raise CborError("map keys out of order, or one of them twice")
        last = encoded
        members[name], at = _item(data, at, depth)
    return members, at


class Encoded(bytes):
    """A value already in canonical CBOR, written as it is."""


def encode(value: object) -> bytes:
    """Return int, bytes, str, bool, list or dict in canonical CBOR. Raises TypeError for anything else."""
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    if isinstance(value, int):  # an enumeration's member
        return _write_int(value)
    raise TypeError(f"{type(value).__name__} is not written as CBOR here")


def _head(major: int, number: int) -> bytes:
    first = major << 5
    if number < 24:
        return _SMALL[first | number]
    if number < 1 << 8:
        return bytes((first | 24, number))
    for info, size in _SIZES.items():
        if number < 1 << 8 * size:
            return bytes((first | info,)) + number.to_bytes(size, "big")
    raise TypeError("a number of more than 64 bits")


def _write_int(value: int) -> bytes:
    return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)


def _write_text(value: str) -> bytes:
    content = value.encode()
    return _head(_TEXT, len(content)) + content


def _write_bytes(value: bytes) -> bytes:
    return (_BYTES_HEADS[len(value)] if len(value) < 1 << 8 else _head(_BYTES, len(value))) + value


def _write_map(value: dict[Any, Any]) -> bytes:
    parts, last = [_head(_MAP, len(value))], -1
    for name, member in value.items():
        if type(name) is not int or not last < name < 24:
            return _write_sorted(value)
        parts += (_SMALL[name], encode(member))  # a response: small numbers, in order already
        last = name
    return b"".join(parts)


def _write_sorted(value: dict[Any, Any]) -> bytes:
    members = sorted([(encode(name), encode(member)) for name, member in value.items()])
    return _head(_MAP, len(members)) + b"".join([name + member for name, member in members])


_SMALL: Final = [bytes((number,)) for number in range(256)]
_BYTES_HEADS: Final = [_head(_BYTES, length) for length in range(1 << 8)]
_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {
    bool: lambda value: b"\xf5" if value else b"\xf4",
    int: _write_int,
    bytes: _write_bytes,
    str: _write_text,
    list: lambda value: _head(_ARRAY, len(value)) + b"".join([encode(item) for item in value]),
    dict: _write_map,
    Encoded: bytes,
}
