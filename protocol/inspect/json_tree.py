"""JSON as a tree: every member with its place, its meaning by the schema of its kind, and what its text holds.

Private members of a JWK are named and never shown.
"""

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Content, Context
from fidoloop.protocol.inspect.node import Node, short

PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
SECRET: Final = "private, not shown: whoever has this text has the key"  # noqa: S105
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")
_STEP = re.compile(r"\.([^.\[]+)|(\[\d+\])")


class Member(NamedTuple):
    """What a member means.

    `members` are those below it, or below the items of the array that it is; `read` reads what its text holds; `tell`
    returns, for its value, what to add to the meaning and what is wrong with it; `sum_up` says an object in one line,
    which then has nothing below it.
    """

    meaning: str = ""
    members: "Mapping[str, Member]" = MappingProxyType({})
    read: Callable[[str, Context], Node] | None = None
    tell: Callable[[Any, Context], tuple[str, str]] | None = None
    sum_up: Callable[[Any], str] | None = None


Members = Mapping[str, Member]
_UNKNOWN = Member()


def json_tree(
    content: Content,
    context: Context,
    name: str,
    members: Members,
    check: Callable[[str], object] | None = None,
) -> Node:
    """Return the JSON in `content` as a tree; what `check` refuses stands where it is wrong.

    Raises:
        MalformedError: not JSON at all, or against the rules of strictjson.
    """
    text = content.text
    if text is None:
        raise MalformedError("$", "not UTF-8")
    value = strictjson.loads(text)
    node = _Walker(text, context).node(_SPACE.match(text).end(), value, name, Member(members=members))  # type: ignore[union-attr]
    if check is None:
        return node
    try:
        check(text)
    except MalformedError as error:
        return _placed(node, error.where, error.what)
    except ValueError as error:
        return node.wrong(str(error))
    return node


class _Walker:
    def __init__(self, text: str, context: Context) -> None:
        self._text, self._context = text, context

    def node(self, at: int, value: object, name: str, member: Member) -> Node:
        """Return the node of the value that begins at `at`, already known to be good JSON."""
        _, end = _DECODER.raw_decode(self._text, at)
        length = end - at
        note, problem = member.tell(value, self._context) if member.tell else ("", "")
        meaning = f"{member.meaning}: {note}" if member.meaning and note else member.meaning or note
        if isinstance(value, dict) and member.sum_up:
            return Node(at, length, name, short(member.sum_up(value)), meaning, problem)
        if isinstance(value, dict):
            return Node(at, length, name, None, meaning, problem, "", None, self._members(at, value, member))
        if isinstance(value, list):
            return Node(at, length, name, None, meaning, problem, "", None, self._items(at, value, member))
        if isinstance(value, str):
            return self._text_node(Node(at, length, name, short(value), meaning, problem), value, member)
        return Node(at, length, name, value, meaning, problem)  # type: ignore[arg-type]

    def _members(self, at: int, value: dict[str, Any], member: Member) -> tuple[Node, ...]:
        found, at = [], self._skip(at + 1)
        is_jwk = "kty" in value
        for _ in value:
            name, end = _DECODER.raw_decode(self._text, at)
            start = self._skip(self._skip(end) + 1)
            if is_jwk and name in PRIVATE:
                _, end = _DECODER.raw_decode(self._text, start)
                node = Node(start, end - start, name, problem=SECRET)
            else:
                node = self.node(start, value[name], name, member.members.get(name, _UNKNOWN))
            found.append(node)
            at = self._skip(self._skip(start + node.length) + 1)
        return tuple(found)

    def _items(self, at: int, value: list[Any], member: Member) -> tuple[Node, ...]:
        found, at = [], self._skip(at + 1)
        for index, item in enumerate(value):
            node = self.node(at, item, f"[{index}]", member._replace(meaning=""))
            found.append(node)
            at = self._skip(self._skip(at + node.length) + 1)
        return tuple(found)

    def _text_node(self, node: Node, value: str, member: Member) -> Node:
        if member.read is None and not (value[:1] in ("{", "[") or value.startswith("eyJ")):
            return node
        try:
            context = self._context.inside()
            inner = (
                member.read(value, context) if member.read else context.find(Content(value.encode("utf-8")), context)
            )
        except MalformedError as error:
            return node.wrong(_said(error)) if member.read else node
        return node if inner is None else inside(node, inner, "JSON text")

    def _skip(self, at: int) -> int:
        return _SPACE.match(self._text, at).end()  # type: ignore[union-attr]


def inside(node: Node, inner: Node, coding: str) -> Node:
    """Return `node` with the tree of what it holds below it, in place of its own value."""
    below = (inner,) if inner.name else inner.children
    return node.but(value=None, coding=inner.coding or coding, children=(below[0].but(coding=""), *below[1:]))


def _said(error: MalformedError) -> str:
    return error.what if error.where == "$" else str(error)


def _placed(node: Node, where: str, what: str) -> Node:
    """Return the tree with `what` at the node that the path `where` leads to, or as near to it as there is one."""
    step = _STEP.match(where.removeprefix("$"))
    name = (step[1] or step[2]) if step else ""
    for index, child in enumerate(node.children):
        if step is not None and child.name == name and not node.coding:
            found = _placed(child, where.removeprefix("$")[step.end() :], what)
            return node.but(children=(*node.children[:index], found, *node.children[index + 1 :]))
    rest = where.removeprefix("$").removeprefix(".")
    return node.wrong(f"{rest}: {what}" if rest else what)
