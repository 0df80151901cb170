"""Every byte of an assertion by name: a tree that says what each is, and what is wrong with it.

For people who look at assertions. Unlike the parsers in `assertions` it does not stop at what is wrong; what it finds
nothing wrong with, they accept.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import MAX_ASSERTION_BYTES
from fidoloop.protocol.uaf.dissect_values import Context, Dissected, Value, dissect_methods, dissect_value
from fidoloop.protocol.uaf.extensions import UVM
from fidoloop.protocol.uaf.registry import TAG_COMPOSITE, Tag, UserVerificationTag
from fidoloop.protocol.uaf.tlv import HEADER, MAX_DEPTH, is_critical, tag_name

MAX_BYTES = 1 << 16


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes `offset` to `offset + length` of what was dissected.

    An element has a `tag`, and its first four bytes are tag and length; what has none is part of an element's value.
    Children lie one after the other and fill the rest of their node; a node without any is named whole. `problem` is
    empty where nothing is wrong.
    """

    offset: int
    length: int
    name: str
    tag: int | None = None
    value: Value = None
    problem: str = ""
    children: "tuple[Node, ...]" = ()

    def walk(self, depth: int = 0) -> "Iterator[tuple[int, Node]]":
        """Yield this node and all below it in the order of their bytes, each with its depth."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    @property
    def problems(self) -> list[str]:
        """What is wrong with this node and those below it, each with the offset where it is."""
        return [f"{node.offset}: {node.name}: {node.problem}" for _, node in self.walk() if node.problem]


class _Rule(NamedTuple):
    """What a composite holds: `first` before all else, each of `once`, just one of `one_of`, any number of `many`."""

    once: frozenset[int]
    many: frozenset[int]
    first: int | None = None
    one_of: frozenset[int] = frozenset()


_EXTENSIONS = frozenset({int(Tag.EXTENSION), int(Tag.EXTENSION_NON_CRITICAL)})
_ATTESTATIONS = frozenset(
    {int(Tag.ATTESTATION_BASIC_FULL), int(Tag.ATTESTATION_BASIC_SURROGATE), int(Tag.ATTESTATION_ECDAA)}
)
_ATTESTATION = _Rule(frozenset({int(Tag.SIGNATURE)}), frozenset({int(Tag.ATTESTATION_CERT)}))
_EXTENSION = _Rule(frozenset({int(Tag.EXTENSION_ID), int(Tag.EXTENSION_DATA)}), frozenset())
_SIGNED = frozenset(
    {int(Tag.AAID), int(Tag.ASSERTION_INFO), int(Tag.FINAL_CHALLENGE_HASH), int(Tag.KEYID), int(Tag.COUNTERS)}
)
_RULES: Mapping[int, _Rule] = {
    int(Tag.UAFV1_REG_ASSERTION): _Rule(frozenset(), _EXTENSIONS, int(Tag.UAFV1_KRD), _ATTESTATIONS),
    int(Tag.UAFV1_AUTH_ASSERTION): _Rule(frozenset({int(Tag.SIGNATURE)}), _EXTENSIONS, int(Tag.UAFV1_SIGNED_DATA)),
    int(Tag.UAFV1_KRD): _Rule(_SIGNED | {int(Tag.PUB_KEY)}, _EXTENSIONS),
    int(Tag.UAFV1_SIGNED_DATA): _Rule(
        _SIGNED | {int(Tag.AUTHENTICATOR_NONCE), int(Tag.TRANSACTION_CONTENT_HASH)}, _EXTENSIONS
    ),
    **dict.fromkeys(_ATTESTATIONS, _ATTESTATION),
    **dict.fromkeys(_EXTENSIONS, _EXTENSION),
}
_ASSERTIONS = frozenset({int(Tag.UAFV1_REG_ASSERTION), int(Tag.UAFV1_AUTH_ASSERTION)})
_NAMED_ELSEWHERE = {int(tag): tag.name for tag in UserVerificationTag}


def dissect_assertion(data: bytes) -> Node:
    """Return the tree of `data`, a registration or authentication assertion or what is meant to be one.

    Raises:
        MalformedError: more than MAX_BYTES, and so nothing that could become one.
    """
    if len(data) > MAX_BYTES:
        raise MalformedError("$", f"{len(data)} bytes, at most {MAX_BYTES} are dissected")
    context = Context.of(data)
    first, *rest = tuple(_elements(data, 0, len(data), 0, context)) or (None,)
    problem = ""
    if len(data) > MAX_ASSERTION_BYTES:
        problem = f"{len(data)} bytes, at most {MAX_ASSERTION_BYTES} allowed"
    elif first is None or first.tag not in _ASSERTIONS:
        problem = "starts with neither a registration nor an authentication assertion"
    after = [msgspec.structs.replace(node, problem=node.problem or "stands after the assertion") for node in rest]
    return Node(0, len(data), "assertion", problem=problem, children=(first, *after) if first else ())


def dissect_elements(data: bytes) -> Node:
    """Return the tree of `data`, elements of any kind one after the other.

    Raises:
        MalformedError: more than MAX_BYTES.
    """
    if len(data) > MAX_BYTES:
        raise MalformedError("$", f"{len(data)} bytes, at most {MAX_BYTES} are dissected")
    return Node(0, len(data), "elements", children=tuple(_elements(data, 0, len(data), 0, Context.of(data))))


def _elements(data: bytes, start: int, end: int, depth: int, context: Context) -> Iterator[Node]:
    while start < end:
        if end - start < HEADER.size:
            rest = end - start
            yield Node(start, rest, "rest", value=data[start:end].hex(), problem=f"{rest} bytes are no tag and length")
            return
        tag, length = HEADER.unpack_from(data, start)
        value = start + HEADER.size
        stop = min(value + length, end)
        overrun = value + length - stop
        problem = f"its length {length} runs {overrun} bytes past the end" if overrun else ""
        yield _element(data, (tag, start, value, stop), depth, context, problem)
        start = stop


def _element(data: bytes, span: tuple[int, int, int, int], depth: int, context: Context, problem: str) -> Node:
    tag, start, value, stop = span
    name = _NAMED_ELSEWHERE.get(tag) or tag_name(tag)
    if tag & TAG_COMPOSITE and depth < MAX_DEPTH:
        children = tuple(_elements(data, value, stop, depth + 1, context))
        if tag in _EXTENSIONS:
            children = tuple(_known_extension(children))
        rule = _RULES.get(tag)
        missing = "" if rule is None else _missing(children, rule)
        judged = children if rule is None else _judged(children, rule)
        return Node(start, stop - start, name, tag, problem=problem or missing, children=judged)
    if tag & TAG_COMPOSITE:
        return Node(start, stop - start, name, tag, problem=problem or f"nested deeper than {MAX_DEPTH}")
    node = Node(start, stop - start, name, tag, problem=problem)
    return _with_parts(node, dissect_value(tag, data[value:stop], context))


def _known_extension(children: tuple[Node, ...]) -> Iterator[Node]:
    """Yield what an extension holds, its data taken apart where the extension is one that is known."""
    known = {child.value for child in children if child.tag == Tag.EXTENSION_ID}
    for child in children:
        if child.tag == Tag.EXTENSION_DATA and UVM in known and isinstance(child.value, str):
            yield _with_parts(child, dissect_methods(bytes.fromhex(child.value)))
        else:
            yield child


def _with_parts(node: Node, found: Dissected) -> Node:
    parts, offset = [], node.offset + HEADER.size
    for part in found.parts:
        parts.append(Node(offset, part.length, part.name, value=part.value, problem=part.problem))
        offset += part.length
    changes = {"value": found.value, "problem": node.problem or found.problem, "children": tuple(parts)}
    return msgspec.structs.replace(node, **changes)


def _missing(children: tuple[Node, ...], rule: _Rule) -> str:
    there = {child.tag for child in children}
    absent = [tag_name(tag) for tag in sorted(rule.once) if tag not in there]
    if rule.first is not None and (not children or children[0].tag != rule.first):
        absent.insert(0, f"{tag_name(rule.first)} as its first element")
    if rule.one_of and not rule.one_of & {tag for tag in there if tag is not None}:
        absent.append("attestation")
    return f"lacks {', '.join(absent)}" if absent else ""


def _judged(children: tuple[Node, ...], rule: _Rule) -> tuple[Node, ...]:
    """Return `children` with what is wrong in their place: twice, where they may not be, or critical and unknown."""
    judged, seen = [], set()
    for index, child in enumerate(children):
        group = -1 if child.tag in rule.one_of else child.tag
        problem = ""
        if child.tag is None or child.tag in rule.many:
            pass
        elif child.tag in rule.once or child.tag in rule.one_of or (child.tag == rule.first and index == 0):
            problem = "stands twice" if group in seen else ""
        else:
            problem = _stranger(child.tag)
        seen.add(group)
        judged.append(msgspec.structs.replace(child, problem=problem) if problem and not child.problem else child)
    return tuple(judged)


def _stranger(tag: int) -> str:
    if tag_name(tag)[:2] != "0x":
        return "does not belong here"
    return "is critical and unknown" if is_critical(tag) else ""
