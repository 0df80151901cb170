"""JWT access tokens bound to a key (RFC 9068; RFC 9449 section 6.1)."""

import hmac
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from msgspec import UNSET, UnsetType

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.errors import OAuthRefusal

TYPE: Final = "at+jwt"
ALGORITHMS: Final = ("ES256", "ES384", "PS256")
MAX_CHARACTERS: Final = 8192
INVALID: Final = "invalid_token"
_TYPES: Final = frozenset({TYPE, f"application/{TYPE}"})


class KeyConfirmation(msgspec.Struct, frozen=True):
    """`cnf`: the thumbprint of the key that the token is bound to."""

    jkt: str


class AccessTokenClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of an access token (RFC 9068 section 2.2); times are epoch seconds, scopes one text."""

    iss: str
    sub: str
    aud: str
    client_id: str
    exp: int
    iat: int
    jti: str
    scope: str = ""
    cnf: KeyConfirmation
    acr: str | UnsetType = UNSET
    auth_time: int | UnsetType = UNSET

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes as a set."""
        return frozenset(self.scope.split())


def make_access_token(key: PrivateKeyTypes, kid: str, claims: AccessTokenClaims) -> str:
    """Return the token signed by the authorization server's key."""
    return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key, {"typ": TYPE, "kid": kid})


def verify_access_token(
    token: str, *, keys: Mapping[str, PublicJwk], expected_issuer: str, expected_audience: str, now: int
) -> AccessTokenClaims:
    """Return the claims of a token for this resource, by one of the issuer's keys (RFC 9068 section 4).

    The caller checks `cnf` against the proof that came with it (`verify_dpop_proof`), then scope and acr.

    Raises:
        OAuthRefusal: invalid_token.
    """
    if len(token) > MAX_CHARACTERS:
        raise OAuthRefusal(INVALID, f"more than {MAX_CHARACTERS} characters")
    try:
        parsed = jose.parse_compact(token, "access token")
        key = keys.get(parsed.header.get("kid", ""))
        if str(parsed.header.get("typ")).lower() not in _TYPES or key is None:
            raise OAuthRefusal(INVALID, f"typ is not {TYPE}, or the key is not one of the issuer's")
        jose.verify_parsed(parsed, key, ALGORITHMS)
        claims = strictjson.decode(parsed.payload, AccessTokenClaims, "access token")
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(INVALID, str(error)) from None
    if not hmac.compare_digest(claims.iss.encode(), expected_issuer.encode()):
        raise OAuthRefusal(INVALID, "another issuer's token")
    if claims.aud != expected_audience:
        raise OAuthRefusal(INVALID, "a token for another resource")
    if claims.exp <= now:
        raise OAuthRefusal(INVALID, "the token is expired")
    return claims
