"""What is to be inspected, and the codings it may be in: text, JSON, PEM, hexadecimal, base64url, base64."""

import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.node import Node

MAX_BYTES: Final = 1 << 18
MAX_NESTED: Final = 6
NOT_JSON: Final = object()
# Up to the next five hyphens only: linear, however many blocks are begun and never ended. No possessive group:
# Python before 3.11.5, Debian 12's own, matches none (gh-101955).
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----([^-]*(?:-(?!----)[^-]*)*)-----END \1-----")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:]*)+")


@dataclass(frozen=True)
class Content:
    """Some bytes; `coding` says what was undone to get at them, `label` what a PEM block calls them."""

    data: bytes
    coding: str = ""
    label: str = ""

    @cached_property
    def text(self) -> str | None:
        """The bytes as text without white space around it, None where they are no UTF-8."""
        try:
            return self.data.decode("utf-8").strip()
        except UnicodeDecodeError:
            return None

    @cached_property
    def json(self) -> Any:  # noqa: ANN401  # JSON, or NOT_JSON
        """The JSON value, NOT_JSON where it is no object and no array that can be read."""
        if not self.text or self.text[0] not in "{[":
            return NOT_JSON
        try:
            return strictjson.loads(self.text)
        except MalformedError:
            return NOT_JSON

    def member(self, name: str) -> Any:  # noqa: ANN401  # JSON
        """Return a member of the JSON object, None where there is none."""
        return self.json.get(name) if isinstance(self.json, dict) else None

    def has(self, *names: str) -> bool:
        """Tell whether it is a JSON object with all these members."""
        return isinstance(self.json, dict) and self.json.keys() >= set(names)


@dataclass(frozen=True)
class Context:
    """What a reader is given beside the content.

    `now` is what times are held against; `key` verifies a signature, where one is found; `read_image` returns the
    texts of the QR codes in an image; `find` inspects what is inside, and returns None where nothing is recognised.
    """

    find: "Callable[[Content, Context], Node | None]"
    now: datetime | None = None
    key: PublicKeyTypes | None = None
    read_image: Callable[[bytes], list[str]] | None = None
    depth: int = 0

    @property
    def outer_key(self) -> PublicKeyTypes | None:
        """The key, where this is what was given and not something inside it, which others signed."""
        return self.key if self.depth == 0 else None

    def inside(self) -> "Context":
        """Return the context of what is inside. Raises MalformedError where that is too deep."""
        if self.depth >= MAX_NESTED:
            raise MalformedError("$", f"one thing inside another more than {MAX_NESTED} times")
        return Context(self.find, self.now, self.key, self.read_image, self.depth + 1)


class Kind(NamedTuple):
    """One kind of thing: its name for --as, what it is, how it is told from others, and who reads it.

    `read` raises MalformedError where it is not of this kind at all.
    """

    name: str
    title: str
    looks: Callable[[Content], bool]
    read: Callable[[Content, Context], Node]
    signed: bool = False


def blocks(given: Content) -> list[Content]:
    """Return the PEM blocks of a text."""
    found = _PEM.findall(given.text or "")
    return [Content(_base64(body) or b"", "PEM", label) for label, body in found]


def codings(given: Content) -> Iterator[Content]:
    """Yield what the bytes may be, as they are first: then as text in PEM, hexadecimal, base64url or base64."""
    yield given
    text = given.text
    if not text or not text.isascii() or given.json is not NOT_JSON:
        return
    in_pem = blocks(given)
    if in_pem:
        yield in_pem[0]
        return
    if _HEX.fullmatch(text):
        yield Content(bytes.fromhex(re.sub(r"[\s:]", "", text)), "hexadecimal")
    decoded = _base64url(text)
    if decoded is not None:
        yield Content(decoded, "base64url")
    elif (decoded := _base64(text)) is not None:
        yield Content(decoded, "base64")


def _base64url(text: str) -> bytes | None:
    try:
        return base64url.decode("".join(text.split()), padding_allowed=True)
    except MalformedError:
        return None


def _base64(text: str) -> bytes | None:
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        return None
