"""CBOR read strictly: the types of CTAP2, one spelling per number, no duplicate keys (RFC 8949; CTAP 2.1, section 8).

The order of a map's keys is not looked at: authenticators exist that write `attStmt` last.
"""

from typing import Any

from fidoloop.protocol.errors import MalformedError

MAX_DEPTH = 8
Value = Any
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_LEAST = {24: 24, 25: 0x100, 26: 0x10000, 27: 0x100000000}


def decode(data: bytes, where: str = "$") -> Value:
    """Return the one value that `data` is: int, bytes, str, bool, list or dict with int and str keys.

    Raises:
        MalformedError: cut short, followed by more, nested deeper than MAX_DEPTH, or outside the types above.
    """
    value, end = decode_first(data, where=where)
    if end != len(data):
        raise MalformedError(where, f"{len(data) - end} bytes follow the CBOR value")
    return value


def decode_first(data: bytes, start: int = 0, where: str = "$") -> tuple[Value, int]:
    """Return the value that begins at `start`, and where it ends.

    Raises:
        MalformedError: as `decode`, except that more may follow.
    """
    return _Reader(data, where).value(start, MAX_DEPTH)


class _Reader:
    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where = data, where

    def value(self, at: int, depth: int) -> tuple[Value, int]:
        if not depth:
            raise self._malformed(f"nested deeper than {MAX_DEPTH}")
        kind, number, at = self._head(at)
        if kind == _UNSIGNED:
            return number, at
        if kind == _NEGATIVE:
            return -1 - number, at
        if kind in (_BYTES, _TEXT):
            return self._string(kind, at, number)
        if kind == _ARRAY:
            return self._array(number, at, depth)
        if kind == _MAP:
            return self._map(number, at, depth)
        if kind == _SIMPLE and number in (20, 21):
            return number == 21, at
        raise self._malformed("CBOR of a type that has no place here")

    def _head(self, at: int) -> tuple[int, int, int]:
        """Return major type, argument, and where what follows begins."""
        if at >= len(self._data):
            raise self._malformed("CBOR that is cut short")
        kind, number = self._data[at] >> 5, self._data[at] & 31
        at += 1
        if number < 24:
            return kind, number, at
        if number > 27 or kind == _SIMPLE:
            raise self._malformed("CBOR of indefinite length, or of a type that has no place here")
        end = at + (1 << (number - 24))
        if end > len(self._data):
            raise self._malformed("CBOR that is cut short")
        argument = int.from_bytes(self._data[at:end])
        if argument < _LEAST[number]:
            raise self._malformed("a CBOR number in more bytes than it takes")
        return kind, argument, end

    def _string(self, kind: int, at: int, size: int) -> tuple[Value, int]:
        end = at + size
        if end > len(self._data):
            raise self._malformed("CBOR that is cut short")
        found = self._data[at:end]
        if kind == _BYTES:
            return found, end
        try:
            return found.decode("utf-8"), end
        except UnicodeDecodeError:
            raise self._malformed("CBOR text that is not UTF-8") from None

    def _array(self, count: int, at: int, depth: int) -> tuple[Value, int]:
        values = []
        for _ in range(self._possible(count, at)):
            value, at = self.value(at, depth - 1)
            values.append(value)
        return values, at

    def _map(self, count: int, at: int, depth: int) -> tuple[Value, int]:
        members: dict[int | str, Value] = {}
        for _ in range(self._possible(2 * count, at) // 2):
            key, at = self.value(at, depth - 1)
            if type(key) not in (int, str):
                raise self._malformed("a CBOR map with a key that is neither a number nor a text")
            if key in members:
                raise self._malformed("a CBOR map with a key twice")
            members[key], at = self.value(at, depth - 1)
        return members, at

    def _possible(self, count: int, at: int) -> int:
        """Return `count`, unless there are fewer bytes left than that many values take."""
        if count > len(self._data) - at:
            raise self._malformed("CBOR that is cut short")
        return count

    def _malformed(self, what: str) -> MalformedError:
        return MalformedError(self._where, what)
