"""What a UAF card says that it is: its answer to GetInfo (UAF authenticator commands 6.2.1)."""

import struct
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.authenticator.commands.registry import AuthenticatorType, CommandTag
from fidoloop.authenticator.models import StoreKind
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.algorithms import ALGORITHMS
from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, AttachmentHint, Tag
from fidoloop.protocol.uaf.tlv import Element

_METADATA: Final = struct.Struct("<HBIHHHH")
_PNG: Final = struct.Struct("<IIBBBBB")


class CardModel(msgspec.Struct, frozen=True):
    """One authenticator in a card, as `Model` is one over a key store; `index` is its place in the card."""

    index: int
    aaid: str
    kind: int
    verification: int
    key_protection: int
    matcher_protection: int
    tc_display: int
    algorithm: int
    attestation: int
    content_type: str
    images: tuple[DisplayPngCharacteristics, ...] | UnsetType

    store = StoreKind.UAF_CARD
    attachment_hint = AttachmentHint.EXTERNAL | AttachmentHint.WIRED

    @property
    def description(self) -> str:
        """Name for people."""
        return f"UAF card {self.aaid}"

    @property
    def tc_display_content_type(self) -> str | UnsetType:
        """What the display shows."""
        return self.content_type or UNSET

    @property
    def is_second_factor(self) -> bool:
        """Whether it wants the key handle from its caller."""
        return bool(self.kind & AuthenticatorType.SECOND_FACTOR)

    @property
    def takes_hash(self) -> bool:
        """Whether it is given a transaction's hash in the place of its content."""
        return bool(self.kind & AuthenticatorType.TRANSACTION_HASH_ONLY)


def read_card_models(elements: tuple[Element, ...]) -> list[CardModel]:
    """Return the authenticators in a GetInfo response; those of schemes and algorithms not known here are left out.

    Raises:
        MalformedError: an AUTHENTICATOR_INFO without what it must have.
    """
    infos = (one.value for one in elements if one.tag == CommandTag.AUTHENTICATOR_INFO)
    models = [_model(info) for info in infos if not isinstance(info, bytes)]
    return [model for model in models if model is not None]


def _model(info: tuple[Element, ...]) -> CardModel | None:
    values: dict[int, list[bytes]] = {}
    for one in info:
        if isinstance(one.value, bytes):
            values.setdefault(one.tag, []).append(one.value)
    where = "AUTHENTICATOR_INFO"
    try:
        metadata = _METADATA.unpack(values[CommandTag.AUTHENTICATOR_METADATA][0])
        (index,) = values[CommandTag.AUTHENTICATOR_INDEX][0]
        aaid = values[Tag.AAID][0].decode("ascii")
        scheme = values[CommandTag.ASSERTION_SCHEME][0].decode("ascii")
        attestation = int.from_bytes(values[CommandTag.ATTESTATION_TYPE][0], "little")
        content_type = values.get(CommandTag.TC_DISPLAY_CONTENT_TYPE, [b""])[0].decode("ascii")
        found = values.get(CommandTag.TC_DISPLAY_PNG_CHARACTERISTICS, ())
        images = tuple(DisplayPngCharacteristics(*_PNG.unpack(one[: _PNG.size])) for one in found)
    except (KeyError, struct.error, ValueError) as error:
        raise MalformedError(where, f"cannot be read ({type(error).__name__})") from None
    kind, _, verification, key_protection, matcher_protection, tc_display, algorithm = metadata
    if scheme != ASSERTION_SCHEME or algorithm not in ALGORITHMS:
        return None
    return CardModel(
        index=index,
        aaid=aaid.upper(),
        kind=kind,
        verification=verification,
        key_protection=key_protection,
        matcher_protection=matcher_protection,
        tc_display=tc_display,
        algorithm=algorithm,
        attestation=attestation,
        content_type=content_type,
        images=images or UNSET,
    )
