"""CBOR as a tree; what CTAP2's canonical form forbids is read, and is a problem (RFC 8949; CTAP 2.1, section 8)."""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Content, Context, Kind
from fidoloop.protocol.inspect.node import Node, short

MAX_DEPTH: Final = 16
_FLOATS: Final = {25: ">e", 26: ">f", 27: ">d"}
_SIMPLE: Final[Mapping[int, Any]] = {20: False, 21: True, 22: None, 23: None}
_MAJOR: Final = ("unsigned", "negative", "bytes", "text", "array", "map", "tag", "simple")


class Field(NamedTuple):
    """What a map's member is: its name, meaning, those below it, and who reads what its bytes hold."""

    name: str = ""
    meaning: str = ""
    members: "Mapping[object, Field]" = MappingProxyType({})
    read: Callable[[bytes, Context], Node] | None = None
    tell: Callable[[object], str] | None = None
    secret: bool = False


Fields = Mapping[object, Field]
_UNKNOWN: Final = Field()


def cbor_tree(data: bytes, at: int, context: Context, name: str, fields: Fields) -> Node:
    """Return the one item at `at`. Raises MalformedError where it cannot be read to its end."""
    node, _ = _Reader(data, context).item(at, name, Field(members=fields), 0)
    return node


def first_item(data: bytes, at: int = 0) -> object:
    """Return the item at `at` where it is canonical; None where it is not."""
    try:
        return canonical_cbor.decode_first(data, at)[0]
    except canonical_cbor.CborError:
        return None


def canonical_problem(data: bytes, at: int = 0) -> str:
    """Return why the rest of `data` is not one item in CTAP2's canonical CBOR; empty where it is."""
    try:
        canonical_cbor.decode(data[at:])
    except canonical_cbor.CborError as error:
        return f"not canonical CBOR: {error}"
    return ""


class _Reader:
    def __init__(self, data: bytes, context: Context) -> None:
        self._data, self._context = data, context

    def item(self, at: int, name: str, field: Field, depth: int) -> tuple[Node, int]:
        """Return the node of the item at `at`, and where it ends."""
        if at >= len(self._data):
            raise MalformedError(f"byte {at}", "the data ends too early")
        if depth > MAX_DEPTH:
            raise MalformedError(f"byte {at}", f"more than {MAX_DEPTH} levels")
        major, info = self._data[at] >> 5, self._data[at] & 0x1F
        start = at
        number, at = self._argument(at + 1, info, major)
        label = field.name or name
        if major in (4, 5):
            children, at = self._container(at, major, number, field, depth + 1)
            return Node(start, at - start, label, None, field.meaning, children=children), at
        if major == 6:
            inner, at = self.item(at, f"tag {number}", field._replace(name=""), depth + 1)
            return Node(start, at - start, label, None, field.meaning, "a tag", children=(inner,)), at
        if major in (2, 3):
            return self._string(start, at, number, label, field, is_text=major == 3)
        value: Any = number if major == 0 else -1 - number if major == 1 else self._simple(at, info, number)
        meaning = field.meaning
        if field.tell is not None and (told := field.tell(value)):
            meaning = f"{meaning}: {told}" if meaning else told
        return Node(start, at - start, label, value, meaning), at

    def _argument(self, at: int, info: int, major: int) -> tuple[int, int]:
        if info < 24:
            return info, at
        if info > 27:
            raise MalformedError(f"byte {at - 1}", f"an indefinite or reserved length of a {_MAJOR[major]}")
        size = 1 << (info - 24)
        if at + size > len(self._data):
            raise MalformedError(f"byte {at}", "the data ends too early")
        return int.from_bytes(self._data[at : at + size]), at + size

    def _simple(self, end: int, info: int, number: int) -> Any:  # noqa: ANN401  # any CBOR value
        if info in _FLOATS:
            size = 1 << (info - 24)
            value: float = struct.unpack(_FLOATS[info], self._data[end - size : end])[0]
            return value if value - value == 0 else str(value)
        return _SIMPLE.get(number, f"simple {number}")

    def _string(self, start: int, at: int, size: int, name: str, field: Field, *, is_text: bool) -> tuple[Node, int]:
        end = at + size
        if end > len(self._data):
            raise MalformedError(f"byte {at}", f"{size} bytes of {'text' if is_text else 'bytes'} run past the end")
        content = self._data[at:end]
        node = Node(start, end - start, name, None, field.meaning)
        if field.secret:
            return node.wrong("private, not shown: whoever has these bytes has the key"), end
        if is_text:
            try:
                return node.but(value=short(content.decode("utf-8"))), end
            except UnicodeDecodeError:
                return node.but(value=short(content.hex())).wrong("text that is not UTF-8"), end
        if field.read is not None:
            try:
                inner = field.read(content, self._context.inside())
                return node.but(coding="bytes", children=inner.children or (inner,), problem=inner.problem), end
            except MalformedError as error:
                return node.but(value=short(content.hex())).wrong(str(error)), end
        return node.but(value=short(content.hex())), end

    def _container(self, at: int, major: int, count: int, field: Field, depth: int) -> tuple[tuple[Node, ...], int]:
        if count > len(self._data) - at:
            raise MalformedError(f"byte {at}", f"{count} items do not fit into what is left")
        found = []
        members = field.members
        for index in range(count):
            if major == 4:
                node, at = self.item(at, f"[{index}]", field._replace(meaning="", name=""), depth)
            else:
                node, at = self._member(at, members, depth)
            found.append(node)
        return tuple(found), at

    def _member(self, at: int, members: Fields, depth: int) -> tuple[Node, int]:
        key, value_at = self.item(at, "key", _UNKNOWN, depth)
        shown = str(key.value)
        field = members.get(key.value, _UNKNOWN)
        name = f"{shown} {field.name}" if field.name and field.name != shown else shown
        node, end = self.item(value_at, name, field._replace(name=""), depth)
        return node, end


def read_cbor(content: Content, context: Context) -> Node:
    """Return any CBOR. Raises MalformedError where it cannot be read."""
    node = cbor_tree(content.data, 0, context, "CBOR", {})
    left = len(content.data) - node.length
    return node.wrong(f"{left} bytes after the item" if left else canonical_problem(content.data))


def is_cbor_map(content: Content) -> bool:
    """Tell whether it is one map in canonical CBOR."""
    data = content.data
    return bool(data) and data[0] >> 5 == 5 and not canonical_problem(data)


KINDS = (Kind("cbor", "CBOR", is_cbor_map, read_cbor),)
