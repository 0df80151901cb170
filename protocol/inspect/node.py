"""The tree: some bytes, what they are called, what they say, what that means, and what is wrong with it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import IntEnum, IntFlag
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from fidoloop.protocol.uaf.status import UafRefusal

Value = str | int | float | bool | None
MAX_TEXT_CHARACTERS = 1024
_MAX_SECONDS = 253_402_300_799


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """`length` bytes at `offset`; in JSON and other texts both count characters.

    Where `coding` is given, the children are what these bytes hold when that is undone, and their offsets begin at 0
    again. `problem` is empty where nothing is wrong. `verified` is None for all but a signature that was held against
    the key that was given.
    """

    offset: int
    length: int
    name: str
    value: Value = None
    meaning: str = ""
    problem: str = ""
    coding: str = ""
    verified: bool | None = None
    children: "tuple[Node, ...]" = ()

    def walk(self, depth: int = 0) -> "Iterator[tuple[int, Node]]":
        """Yield this node and all below it in the order of their bytes, each with its depth."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    def but(self, **changes: Any) -> "Node":  # noqa: ANN401  # any of the fields
        """Return this node with other fields."""
        return msgspec.structs.replace(self, **changes)

    def wrong(self, problem: str) -> "Node":
        """Return this node with `problem` beside those it has."""
        return self.but(problem=f"{self.problem}; {problem}" if self.problem else problem) if problem else self

    def map(self, change: "Callable[[Node], Node]") -> "Node":
        """Return this tree, each node of it changed."""
        return change(self.but(children=tuple(child.map(change) for child in self.children)))


def octets(offset: int, data: bytes, name: str, meaning: str = "", problem: str = "") -> Node:
    """Return a node of bytes, shown in hexadecimal."""
    return Node(offset, len(data), name, short(data.hex()), meaning, problem)


def number(offset: int, data: bytes, name: str, meaning: str = "", problem: str = "") -> Node:
    """Return a node of a big-endian number."""
    return Node(offset, len(data), name, int.from_bytes(data), meaning, problem)


def short(text: str) -> str:
    """Return `text`, its end left out where it is long."""
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}… ({len(text)} characters)"


def named(kind: type[IntEnum], value: object) -> str:
    """Return the name of a number, empty where it has none."""
    return kind(value).name if type(value) is int and value in kind.__members__.values() else ""


def bits(kind: type[IntFlag], value: object) -> str:
    """Return the names of the bits that are set, empty where it is no such number."""
    if type(value) is not int or value < 0:
        return ""
    return ", ".join(str(flag.name) for flag in kind if value & flag)


def iso(seconds: object) -> str:
    """Return epoch seconds as ISO 8601 in UTC, empty where they are none."""
    if type(seconds) not in (int, float) or not 0 <= seconds <= _MAX_SECONDS:  # type: ignore[operator]
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")  # type: ignore[arg-type]


def held_against_key(node: Node, verify: Callable[[], object] | None) -> Node:
    """Return the node of a signature, with what `verify` makes of it: None where no key was given.

    `verify` raises ValueError, TypeError, InvalidSignature or UafRefusal where the signature does not verify.
    """
    if verify is None:
        return node.but(meaning=_joined(node.meaning, "not verified: no key was given"))
    try:
        verify()
    except (InvalidSignature, UafRefusal, ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = str(error)
        return node.but(verified=False).wrong("does not verify with the key given" + (f" ({why})" if why else ""))
    return node.but(verified=True, meaning=_joined(node.meaning, "verifies with the key given"))


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
