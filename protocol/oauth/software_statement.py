"""What a publisher says of a piece of software, in a JWT (RFC 7591 section 2.3)."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.client_metadata import ClientMetadata
from fidoloop.protocol.oauth.errors import OAuthRefusal

ALGORITHMS: Final = ("ES256", "ES384", "PS256", "RS256")
INVALID: Final = "invalid_software_statement"
UNAPPROVED: Final = "unapproved_software_statement"


class StatementClaims(msgspec.Struct, frozen=True):
    """The claims about the statement itself."""

    iss: Annotated[str, Meta(max_length=512)]
    jti: Annotated[str, Meta(min_length=1, max_length=256)] | UnsetType = UNSET
    exp: int | UnsetType = UNSET
    one_time_use: bool = False


class SoftwareStatement(NamedTuple):
    """A verified statement; `one_time` is what must not be seen twice, where it is good once."""

    metadata: ClientMetadata
    one_time: str | None


def verify_software_statement(statement: str, *, publishers: Sequence[PublicJwk], now: int) -> SoftwareStatement:
    """Return what a publisher that is trusted says.

    Raises:
        OAuthRefusal: unapproved_software_statement where none of the publishers signed it; invalid_software_statement
            where it cannot be read or is expired.
    """
    try:
        parsed = jose.parse_compact(statement, "software_statement")
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(INVALID, str(error)) from None
    if not any(_signed_by(parsed, publisher) for publisher in publishers):
        raise OAuthRefusal(UNAPPROVED, "no publisher that is trusted signed the software statement")
    try:
        claims = strictjson.decode(parsed.payload, StatementClaims, "software_statement")
        said: dict[str, Any] = strictjson.loads(parsed.payload, "software_statement")
        # Keys are the device's, never the publisher's.
        metadata = strictjson.convert({**said, "jwks": None} if "jwks" in said else said, ClientMetadata)
    except MalformedError as error:
        raise OAuthRefusal(INVALID, str(error)) from None
    if claims.exp is not UNSET and claims.exp <= now:
        raise OAuthRefusal(INVALID, "the software statement is expired")
    if claims.one_time_use and claims.jti is UNSET:
        raise OAuthRefusal(INVALID, "a software statement that is good once needs a jti")
    return SoftwareStatement(metadata, f"statement|{claims.iss}|{claims.jti}" if claims.one_time_use else None)


def _signed_by(parsed: jose.CompactJws, publisher: PublicJwk) -> bool:
    try:
        jose.verify_parsed(parsed, publisher, ALGORITHMS)
    except jose.JoseRefusal:
        return False
    return True
