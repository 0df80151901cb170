"""Readers of what the text of a JSON member holds in base64url or base64."""

import binascii
from collections.abc import Callable

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Content, Context
from fidoloop.protocol.inspect.node import Node, octets

TextReader = Callable[[str, Context], Node]


def in_base64url(read: Callable[[Content, Context], Node]) -> TextReader:
    """Return the reader of a text that holds in base64url what `read` reads."""

    def from_text(text: str, context: Context) -> Node:
        content = Content(base64url.decode(text, padding_allowed=True))
        return read(content, context).but(coding="base64url")

    return from_text


def in_base64(text: str, context: Context) -> Node:
    """Return what base64 DER holds: a certificate as a rule. Raises MalformedError."""
    try:
        der = binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        raise MalformedError("$", "not base64") from None
    found = context.find(Content(der, "base64"), context)
    return (found or octets(0, der, "bytes", problem="nothing that is known here")).but(coding="base64")
