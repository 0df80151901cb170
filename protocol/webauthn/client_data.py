"""CollectedClientData: what the client says of the ceremony (WebAuthn 5.8.1), and the checks both ceremonies make."""

from dataclasses import dataclass, field
from hashlib import sha256

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal

CREATE, GET = "webauthn.create", "webauthn.get"
_BOM = b"\xef\xbb\xbf"


class ClientData(msgspec.Struct, frozen=True):
    """The members that are looked at; others may be there (WebAuthn 5.8.1.1)."""

    type: str
    challenge: str
    origin: str
    crossOrigin: bool | UnsetType = UNSET
    topOrigin: str | UnsetType = UNSET


@dataclass(frozen=True)
class RelyingParty:
    """Who the credentials are for: its id, the origins it is at, and those of the pages that may embed these.

    Origins are compared as texts; those of apps (android:apk-key-hash:…) are origins, too.
    """

    id: str
    origins: frozenset[str]
    top_origins: frozenset[str] = frozenset()
    id_hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Hash the id."""
        object.__setattr__(self, "id_hash", sha256(self.id.encode("utf-8")).digest())


def parse_client_data(document: bytes) -> ClientData:
    """Return the client data in `document`, UTF-8 JSON; a byte order mark is passed over.

    Raises:
        WebAuthnRefusal: MALFORMED.
    """
    if document.startswith(_BOM):
        document = document[len(_BOM) :]
    try:
        return strictjson.decode(document, ClientData, "clientDataJSON")
    except MalformedError as error:
        raise WebAuthnRefusal(Rule.MALFORMED, str(error)) from None


def check_client_data(found: ClientData, *, expected_type: str, expected_challenge: str, rp: RelyingParty) -> None:
    """Hold client data against what the relying party expects; the challenge as base64url.

    Raises:
        WebAuthnRefusal: TYPE, CHALLENGE, ORIGIN, CROSS_ORIGIN, TOP_ORIGIN, in this order.
    """
    if found.type != expected_type:
        raise WebAuthnRefusal(Rule.TYPE, f"clientDataJSON.type is not {expected_type}")
    if found.challenge != expected_challenge:
        raise WebAuthnRefusal(Rule.CHALLENGE, "clientDataJSON.challenge is not that of the options")
    if found.origin not in rp.origins:
        raise WebAuthnRefusal(Rule.ORIGIN, f"clientDataJSON.origin {found.origin[:128]!r} is not one of {rp.id}")
    if found.crossOrigin is True and not rp.top_origins:
        raise WebAuthnRefusal(Rule.CROSS_ORIGIN, "clientDataJSON.crossOrigin: no page may embed this one")
    if found.topOrigin is not UNSET:
        if found.crossOrigin is not True:
            raise WebAuthnRefusal(Rule.TOP_ORIGIN, "clientDataJSON.topOrigin without crossOrigin")
        if found.topOrigin not in rp.top_origins:
            raise WebAuthnRefusal(Rule.TOP_ORIGIN, f"clientDataJSON.topOrigin {found.topOrigin[:128]!r} may not embed")
