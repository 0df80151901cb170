"""The table of all kinds, and the one door: bytes in, an annotated tree out.

Whatever the bytes, nothing but UnreadableError is raised.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect import (
    apdu,
    cbor,
    certificate,
    cose,
    ctap,
    der,
    evidence,
    jose,
    metadata,
    outofband,
    tpm,
    uaf,
    uaf_assertion,
    webauthn,
)
from fidoloop.protocol.inspect.content import MAX_BYTES, NOT_JSON, Content, Context, Kind, blocks, codings
from fidoloop.protocol.inspect.json_tree import json_tree
from fidoloop.protocol.inspect.node import Node
from fidoloop.protocol.uaf.metadata_blob import MAX_BLOB_BYTES

MAX_IMAGE_BYTES: Final = 32 << 20
_IMAGES: Final = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


class UnreadableError(MalformedError):
    """What was given is nothing that is known here, not of the kind that was named, or too long."""


class Inspection(NamedTuple):
    """What was found: its kind (for --as), what that is, the coding undone to get at it, and the tree.

    `verified` is None where nothing was held against a key.
    """

    kind: str
    title: str
    coding: str
    tree: Node

    @property
    def problems(self) -> list[str]:
        """What is wrong, each with the path to where it is."""
        return list(_problems(self.tree, ""))

    @property
    def verified(self) -> bool | None:
        """Whether the signatures that were held against the key verify; None where there were none."""
        outcomes = {node.verified for _, node in self.tree.walk()} - {None}
        return None if not outcomes else outcomes == {True}


def inspect(
    data: bytes,
    *,
    kind: str | None = None,
    now: datetime | None = None,
    key: PublicKeyTypes | None = None,
    read_image: Callable[[bytes], list[str]] | None = None,
) -> Inspection:
    """Return what `data` is, as an annotated tree.

    Args:
        data: as it was pasted or piped: text or bytes, in base64url, base64, hexadecimal, PEM or none of them.
        kind: one of KINDS where the guess would be wrong.
        now: times are held against it; None holds them against nothing.
        key: signatures are held against it; None verifies nothing.
        read_image: returns the texts of the QR codes in an image.

    Raises:
        UnreadableError: nothing that is known here, not of `kind`, or too long.
    """
    try:
        return _inspected(data, kind, Context(_find, now, key, read_image))
    except MalformedError as error:
        raise UnreadableError(error.where, error.what) from None


def _inspected(data: bytes, kind: str | None, context: Context) -> Inspection:
    kind = _checked_size(data, kind)
    given = Content(data)
    try:
        found = _as_kind(given, KINDS[kind], context) if kind is not None else _guess(given, context)
    except RecursionError:
        raise MalformedError("$", "one thing inside another too many times") from None
    if found is None:
        raise MalformedError("$", "none of the kinds known here: name one by --as, if it is broken")
    return found


def _checked_size(data: bytes, kind: str | None) -> str | None:
    """Return the kind that it has to be: what is large can be but an image or a metadata BLOB."""
    if not data.strip():
        raise MalformedError("$", "empty")
    if len(data) <= MAX_BYTES:
        return kind
    large, limit = ("qr", MAX_IMAGE_BYTES) if data.startswith(_IMAGES) else ("jws", MAX_BLOB_BYTES)
    if kind not in (None, large) or len(data) > limit or (large == "jws" and data.lstrip()[:3] != b"eyJ"):
        raise MalformedError("$", f"more than {MAX_BYTES} bytes, and neither an image nor a metadata BLOB that is read")
    return large


def _guess(given: Content, context: Context) -> Inspection | None:
    found = blocks(given)
    if len(found) > 1:
        children = tuple(_block(block, context) for block in found)
        return Inspection("pem", "several PEM blocks", "PEM", Node(0, len(given.data), "PEM", children=children))
    for content in codings(given):
        for kind in KINDS.values():
            if kind.looks(content):
                return Inspection(kind.name, kind.title, content.coding, kind.read(content, context))
        if content.coding and (content.json is not NOT_JSON):
            return Inspection("json", "JSON", content.coding, _read_json(content, context))
    if given.json is not NOT_JSON:
        return Inspection("json", "JSON", "", _read_json(given, context))
    return None


def _block(block: Content, context: Context) -> Node:
    found = _find(block, context)
    return found or Node(0, len(block.data), block.label, problem="not known here")


def _as_kind(given: Content, kind: Kind, context: Context) -> Inspection:
    """Return it as `kind`, in the coding that fits: where none does, what is wrong in the likeliest."""
    refusal: MalformedError | None = None
    tried = sorted(codings(given), key=lambda content: (not kind.looks(content), not content.coding))
    for content in tried:
        try:
            return Inspection(kind.name, kind.title, content.coding, kind.read(content, context))
        except MalformedError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _find(content: Content, context: Context) -> Node | None:
    """Return the tree of what is inside something, None where it is nothing known."""
    if not content.data or len(content.data) > MAX_BYTES:
        return None
    for kind in KINDS.values():
        if kind.name not in _LOOSE and kind.looks(content):
            return kind.read(content, context.inside())
    return _read_json(content, context) if content.json is not NOT_JSON else _find_in_text(content, context)


def _find_in_text(content: Content, context: Context) -> Node | None:
    """Return the JSON that a text holds in base64url, None where it does not."""
    if content.text is None or not content.text.startswith("eyJ"):
        return None
    for decoded in codings(content):
        if decoded.coding and decoded.json is not NOT_JSON:
            found = _find(decoded, context.inside())
            return None if found is None else found.but(coding=decoded.coding)
    return None


def _read_json(content: Content, context: Context) -> Node:
    return json_tree(content, context, "JSON", {})


def _is_image(content: Content) -> bool:
    return content.data.startswith(_IMAGES)


def _read_image(content: Content, context: Context) -> Node:
    if context.read_image is None:
        raise MalformedError("$", "images are not read here")
    texts = context.read_image(content.data)
    if not texts:
        raise MalformedError("$", "an image without a QR code that can be read")
    return Node(0, len(content.data), "image", children=tuple(_code(text, context) for text in texts))


def _code(text: str, context: Context) -> Node:
    node = Node(0, len(text), "QR code", coding="QR code")
    found = _guess(Content(text.encode("utf-8")), context.inside())
    if found is None:
        return node.but(coding="", value=text)
    return node.but(coding=found.coding or "QR code", meaning=found.title, children=(found.tree.but(coding=""),))


def _problems(node: Node, path: str) -> "list[str]":
    here = f"{path}/{node.name}" if path else node.name
    own = [f"{here} at {node.offset}: {node.problem}"] if node.problem else []
    return own + [one for child in node.children for one in _problems(child, here)]


# Few bytes look like these by chance: inside something else they are not guessed.
_LOOSE: Final = frozenset({"apdu", "apdu-answer", "tlv", "qr", "ctap-request"})
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("qr", "an image with QR codes", _is_image, _read_image),
            *uaf.KINDS,
            *outofband.KINDS,
            *webauthn.KINDS[:3],
            *evidence.KINDS,
            *metadata.KINDS,
            *jose.KINDS,
            *uaf_assertion.KINDS,
            *certificate.KINDS,
            *tpm.KINDS,
            *webauthn.KINDS[3:],
            *cose.KINDS,
            *ctap.KINDS,
            *cbor.KINDS,
            *apdu.KINDS,
            *der.KINDS,
        )
    }
)
"""Every kind by its name, in the order they are tried in."""
