"""JSON read strictly: UTF-8, bounded depth, no duplicate members, no NaN, no half surrogates; then typed by msgspec.

Python's and msgspec's decoders both let the last of two equal members win, which lets a sender show one value to a
filter and another to us; HTTP contract 11a refuses duplicates and deep nesting instead.
"""

import json
import re
from collections.abc import Callable
from math import isinf
from typing import Any, NamedTuple, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from fidoloop.protocol.errors import MalformedError

MAX_DEPTH = 16

T = TypeVar("T")

# A string that never ends matches too, up to the end, and nothing is tried twice: linear in whatever is sent.
_OPENERS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*\\?(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes | str, where: str = "$") -> Any:  # noqa: ANN401 - JSON is any value until `decode` types it
    """Return the value of the JSON text `data`.

    Raises:
        MalformedError: not UTF-8, not JSON, nested deeper than MAX_DEPTH, a duplicate member, NaN/Infinity or a
            number that is not finite, or half of a surrogate pair.
    """
    text = _text(data, where)
    # Fewer brackets than the limit cannot nest deeper than it: the scan is for the rare long text.
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(text, where)
    try:
        value = _DECODER.decode(text)
    except _DuplicateMemberError as error:
        raise MalformedError(where, f"duplicate member {error.name[:40]!r}") from None
    except _ConstantError:
        raise MalformedError(where, "NaN and Infinity are not JSON, in digits neither") from None
    except json.JSONDecodeError as error:
        raise MalformedError(where, f"not JSON at character {error.pos}") from None
    except ValueError:
        # Python's own cap on the digits of an integer.
        raise MalformedError(where, "a number is too long") from None
    if _SURROGATE_ESCAPE.search(text) and not _is_unicode(json.dumps(value, ensure_ascii=False)):
        raise MalformedError(where, "half of a surrogate pair")
    return value


def decode(data: bytes | str, type_: type[T], where: str = "$") -> T:
    """Return `data` as `type_` (a msgspec struct or any type msgspec knows).

    Raises:
        MalformedError: as `loads`, or a member is missing, null or of another type; `where` is its path.
    """
    text = data if isinstance(data, bytes) else _text(data, where)
    reader = _READERS.get(type_) or _reader(type_)
    if reader.is_plain:
        try:
            value: T = reader.decode(text)
        except msgspec.ValidationError as error:
            raise _mistyped(error, where) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # not UTF-8, not JSON, or much too deep: the slower reader below says where
        else:
            if _says_no_more(text, _ENCODER.encode(value)):
                return value
    return convert(loads(text, where), type_, where)


def _says_no_more(text: bytes | str, written: bytes) -> bool:
    """Tell whether the JSON `text` holds nothing but the plain value that `written` is.

    Senders that write as we do are recognised at once. Of others, every member and every text is two quotes and those
    escaped in it, so as many quotes in one as in the other mean that nothing was dropped: no member stood twice, and
    none was unknown, so that nothing was nested deeper than the type. Only \\u0022 writes a quote without one.
    """
    read = text if isinstance(text, bytes) else text.encode("utf-8")
    return read == written or (b"\\u" not in read and read.count(b'"') == written.count(b'"'))


def convert(value: object, type_: type[T], where: str = "$") -> T:
    """Return the parsed JSON `value` as `type_`.

    Raises:
        MalformedError: a member is missing or of another type.
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise _mistyped(error, where) from None


def encode(value: object) -> str:
    """Return `value` (structs included) as compact JSON."""
    return _ENCODER.encode(value).decode("utf-8")


def _text(data: bytes | str, where: str) -> str:
    if isinstance(data, str):
        if not _is_unicode(data):
            raise MalformedError(where, "half of a surrogate pair")
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(where, f"not UTF-8 at byte {error.start}") from None


def _is_unicode(text: str) -> bool:
    """Tell whether `text` can be written as UTF-8: a lone surrogate would fail at whoever encodes it first."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _mistyped(error: msgspec.ValidationError, where: str) -> MalformedError:
    # What was sent is not repeated: it may be a secret, and this goes into logs.
    what, _, path = _ENUM_VALUE.sub("Invalid enum value", str(error)).partition(" - at `")
    return MalformedError(path.rstrip("`").replace("$", where, 1) if path else where, what)


class _Reader(NamedTuple):
    decode: Callable[[bytes | str], Any]
    is_plain: bool


def _reader(type_: type[T]) -> _Reader:
    reader = _Reader(msgspec.json.Decoder(type_).decode, _is_plain(inspect.type_info(type_)))
    _READERS[type_] = reader
    return reader


def _is_plain(info: inspect.Type, around: tuple[type, ...] = ()) -> bool:
    """Tell whether values of this type nest no deeper than the type and are written with no member not read.

    Excluded so: dictionaries and Any, structs inside themselves, and structs that write out their defaults.
    """
    if isinstance(info, inspect.StructType):
        omits = info.cls.__struct_config__.omit_defaults
        return info.cls not in around and all(
            (omits or (field.default in _ABSENT and field.default_factory in _ABSENT))
            and _is_plain(field.type, (*around, info.cls))
            for field in info.fields
        )
    if isinstance(info, inspect.ListType | inspect.VarTupleType):
        return _is_plain(info.item_type, around)
    if isinstance(info, inspect.TupleType):
        return all(_is_plain(item, around) for item in info.item_types)
    if isinstance(info, inspect.UnionType):
        return all(_is_plain(option, around) for option in info.types)
    return isinstance(info, _SCALARS)


_SCALARS = (inspect.StrType, inspect.IntType, inspect.FloatType, inspect.BoolType, inspect.LiteralType)
_ABSENT = (msgspec.NODEFAULT, msgspec.UNSET)
_READERS: dict[Any, _Reader] = {}


def _check_depth(text: str, where: str) -> None:
    depth = 0
    for token in _OPENERS.finditer(text):
        character = token.group()[0]
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedError(where, f"nested deeper than {MAX_DEPTH}")
        elif character in "]}":
            depth -= 1


class _DuplicateMemberError(Exception):
    def __init__(self, name: str) -> None:
        self.name = name


class _ConstantError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateMemberError(name)
            seen.add(name)
    return members


def _no_constant(_: str) -> NoReturn:
    raise _ConstantError


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise _ConstantError
    return value


_ENUM_VALUE = re.compile(r"^Invalid enum value .*?(?= - at `\$[^`]*`$|$)", re.DOTALL)
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
_ENCODER = msgspec.json.Encoder()
