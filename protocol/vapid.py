"""VAPID: a server names itself to push services by a signed token (RFC 8292)."""

from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.web_push import point_of

SCHEME: Final = "vapid"
MAX_LIFETIME_SECONDS: Final = 24 * 3600
_MAX_HEADER_CHARACTERS = 4096


class VapidRefusal(ValueError):
    """A push is not from the server it should be from, or its token is for elsewhere or has run out."""


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the token says: the push service's origin, until when (epoch seconds), and how to reach the sender."""

    aud: Annotated[str, Meta(max_length=2048)]
    exp: int
    sub: Annotated[str, Meta(max_length=2048)] = ""


def authorization(key: ec.EllipticCurvePrivateKey, claims: Claims) -> str:
    """Return the Authorization header of a push by the server whose P-256 key is `key` (RFC 8292 section 3)."""
    token = jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key, {"typ": "JWT"})
    return f"{SCHEME} t={token}, k={base64url.encode(point_of(key.public_key()))}"


def verify_authorization(
    header: str, *, expected_key: ec.EllipticCurvePublicKey, expected_audience: str, now: float
) -> Claims:
    """Return what the Authorization header of a push says, if it is from the owner of `expected_key`.

    `now` is in epoch seconds.

    Raises:
        MalformedError: not of the scheme `vapid` with t and k.
        VapidRefusal: another key, a signature that does not verify, another audience, run out, or too far ahead.
    """
    parameters = _parameters(header)
    # The key itself is public: nothing is told by how long this takes.
    if parameters["k"] != base64url.encode(point_of(expected_key)):
        raise VapidRefusal("the push is not from the server of this subscription")
    try:
        payload = jose.verify_compact(parameters["t"], jose.public_jwk(expected_key), "$ vapid t")
    except jose.JoseRefusal as refusal:
        raise VapidRefusal(f"the VAPID token: {refusal}") from None
    claims = strictjson.decode(payload, Claims, "$ vapid t")
    if claims.aud != expected_audience:
        raise VapidRefusal("the VAPID token is for another push service")
    if claims.exp <= now:
        raise VapidRefusal("the VAPID token has run out")
    if claims.exp > now + MAX_LIFETIME_SECONDS:
        raise VapidRefusal("the VAPID token runs for more than 24 hours")
    return claims


def _parameters(header: str) -> dict[str, str]:
    scheme, _, rest = header.strip().partition(" ")
    parts = [part.strip().partition("=") for part in rest.split(",")]
    found = {name.strip().lower(): value.strip() for name, _, value in parts}
    if (
        len(header) > _MAX_HEADER_CHARACTERS
        or scheme.lower() != SCHEME
        or len(found) != len(parts)
        or not found.keys() >= {"t", "k"}
    ):
        raise MalformedError("$ authorization", "not of the scheme vapid with one t and one k")
    return found
