"""What was kept of a message, made readable: every byte of its assertions by name."""

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.dissect import dissect_assertion
from fidoloop.server.lab.redaction import Json
from fidoloop.server.lab.stories import Entry, Message


def readable(entry: Entry) -> Json:
    """Return an entry of a story as JSON, its assertions as trees."""
    shown = msgspec.to_builtins(entry)
    if isinstance(entry, Message):
        shown |= {"request": _with_trees(entry.request), "answer": _with_trees(entry.answer)}
    return shown


def _with_trees(value: Json) -> Json:
    if isinstance(value, list):
        return [_with_trees(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _tree(member) if name == "assertion" and isinstance(member, str) else _with_trees(member)
        for name, member in value.items()
    }


def _tree(text: str) -> Json:
    """Return the tree of an assertion, or the text where it is none."""
    try:
        return msgspec.to_builtins(dissect_assertion(base64url.decode(text, padding_allowed=True)))
    except MalformedError:
        return text
