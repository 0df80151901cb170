"""Transactions to confirm: their renderings as they are sent, and which of a user's keys can show one.

UAF protocol 3.5.7.1: a rendering for each display that the user's keys have. The caller brings the renderings; what a
registration said of its display counts before its model's metadata.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics, Transaction
from fidoloop.protocol.uaf.metadata import MetadataStatement
from fidoloop.protocol.uaf.png import is_displayable, png_characteristics
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.transactions import IMAGE_PNG, TEXT_PLAIN, transaction_content
from fidoloop.server.metadata import MetadataDirectory
from fidoloop.server.store.rows import Credential


class Rendering(NamedTuple):
    """One rendering as it is sent, and its decoded content."""

    sent: Transaction
    content: bytes


def read_renderings(entries: Sequence[Transaction]) -> tuple[Rendering, ...]:
    """Return what a context asks to be confirmed; an image without characteristics gets its own.

    Raises:
        UafRefusal: BAD_REQUEST, content outside the rules, or an image that is not what its characteristics say.
    """
    return tuple(_rendering(entry, f"context.transaction[{index}]") for index, entry in enumerate(entries))


def _rendering(entry: Transaction, where: str) -> Rendering:
    try:
        content = transaction_content(entry, where)
        if entry.contentType != IMAGE_PNG:
            return Rendering(Transaction(entry.contentType, base64url.encode(content)), content)
        named = entry.tcDisplayPNGCharacteristics
        if named is not UNSET and not is_displayable(content, named, f"{where}.content"):
            raise MalformedError(where, "the image is not what its tcDisplayPNGCharacteristics say")
        return _image(content, named or png_characteristics(content, f"{where}.content"))
    except MalformedError as error:
        raise UafRefusal(StatusCode.BAD_REQUEST, str(error)) from None


def shown_by(
    credentials: Sequence[Credential], renderings: Sequence[Rendering], metadata: MetadataDirectory
) -> tuple[list[Credential], tuple[Rendering, ...]]:
    """Return the keys whose display can show one of `renderings`, and the renderings that fit any of them.

    An image is sent with the characteristics of each display that it fits, or with its own where nobody says what the
    display takes.
    """
    usable: list[Credential] = []
    shown: dict[Rendering, None] = {}
    for credential in credentials:
        entry = metadata.get(credential.aaid)
        if entry is None or not entry.statement.tcDisplay:
            continue
        images = _images(credential, entry.statement)
        fitting = [each for rendering in renderings for each in _fitted(rendering, entry.statement, images)]
        if fitting:
            usable.append(credential)
            shown.update(dict.fromkeys(fitting))
    return usable, tuple(shown)


def _fitted(
    rendering: Rendering, statement: MetadataStatement, images: Sequence[DisplayPngCharacteristics]
) -> Iterable[Rendering]:
    """Return the rendering in the forms that a display of this model shows; none where it cannot."""
    if statement.tcDisplayContentType not in (UNSET, rendering.sent.contentType):
        return ()
    if rendering.sent.contentType == TEXT_PLAIN or not images:
        return (rendering,)
    content = rendering.content
    return [_image(content, characteristics) for characteristics in images if is_displayable(content, characteristics)]


def _images(credential: Credential, statement: MetadataStatement) -> tuple[DisplayPngCharacteristics, ...]:
    if credential.display_characteristics is not None:
        return msgspec.json.decode(credential.display_characteristics, type=tuple[DisplayPngCharacteristics, ...])
    return statement.tcDisplayPNGCharacteristics or ()


def _image(content: bytes, characteristics: DisplayPngCharacteristics) -> Rendering:
    return Rendering(Transaction(IMAGE_PNG, base64url.encode(content), characteristics), content)
