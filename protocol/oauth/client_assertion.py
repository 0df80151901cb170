"""Client authentication by a signed assertion, `private_key_jwt` (RFC 7523 section 3; OpenID Connect Core 9)."""

import hashlib
import hmac
from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.errors import OAuthRefusal

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = ("ES256", "ES384", "PS256", "RS256")
MAX_SECONDS: Final = 300
MAX_CHARACTERS: Final = 8192
MAX_JTI_CHARACTERS: Final = 256
INVALID: Final = "invalid_client"


class AssertionClaims(msgspec.Struct, frozen=True):
    """The claims; times are epoch seconds."""

    iss: str
    sub: str
    aud: str
    exp: int
    jti: str


class ClientAssertion(NamedTuple):
    """A verified assertion; `replay_key` must not be seen again until `expires_at` (epoch seconds)."""

    client_id: str
    replay_key: str
    expires_at: int


def make_client_assertion(key: PrivateKeyTypes, claims: AssertionClaims) -> str:
    """Return an assertion signed by the client's key."""
    return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key, {"typ": "JWT"})


def claimed_client_id(assertion: str) -> str:
    """Return whom an assertion says it is of, **not verified**: to look up the key that verifies it.

    Raises:
        OAuthRefusal: invalid_client.
    """
    return _read(assertion)[1].sub


def verify_client_assertion(
    assertion: str, key: PublicJwk, *, expected_client_id: str, expected_audience: str, now: int
) -> ClientAssertion:
    """Return the assertion, signed by the client's registered key for this issuer.

    Raises:
        OAuthRefusal: invalid_client.
    """
    parsed, claims = _read(assertion)
    try:
        jose.verify_parsed(parsed, key, ALGORITHMS)
    except jose.JoseRefusal as error:
        raise OAuthRefusal(INVALID, str(error)) from None
    for found, expected in (
        (claims.iss, expected_client_id),
        (claims.sub, expected_client_id),
        (claims.aud, expected_audience),
    ):
        if not hmac.compare_digest(found.encode("utf-8"), expected.encode("utf-8")):
            raise OAuthRefusal(INVALID, "the client assertion is of another client or for another server")
    if not now < claims.exp <= now + MAX_SECONDS:
        raise OAuthRefusal(INVALID, f"the client assertion is expired, or good for more than {MAX_SECONDS} seconds")
    if not 1 <= len(claims.jti) <= MAX_JTI_CHARACTERS:
        raise OAuthRefusal(INVALID, f"jti is not 1 to {MAX_JTI_CHARACTERS} characters")
    seen = f"assertion|{claims.sub}|{claims.jti}"
    replay_key = base64url.encode(hashlib.sha256(seen.encode("utf-8")).digest())
    return ClientAssertion(claims.sub, replay_key, claims.exp + 1)


def _read(assertion: str) -> tuple[jose.CompactJws, AssertionClaims]:
    if len(assertion) > MAX_CHARACTERS:
        raise OAuthRefusal(INVALID, f"more than {MAX_CHARACTERS} characters")
    try:
        parsed = jose.parse_compact(assertion, "client_assertion")
        return parsed, strictjson.decode(parsed.payload, AssertionClaims, "client_assertion")
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(INVALID, str(error)) from None
