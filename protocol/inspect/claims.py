"""Claims and header members of JWTs: what they mean, and what is wrong with them (RFC 7519, OAuth contract)."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.inspect.content import Context
from fidoloop.protocol.inspect.embedded import in_base64
from fidoloop.protocol.inspect.json_tree import Member, Members
from fidoloop.protocol.inspect.node import iso
from fidoloop.protocol.oauth.access_tokens import AccessTokenClaims
from fidoloop.protocol.oauth.client_attestation import AttestationClaims, PopClaims
from fidoloop.protocol.oauth.device_evidence import PROFILE, EvidenceClaims
from fidoloop.protocol.oauth.dpop import DpopClaims
from fidoloop.protocol.oauth.software_statement import StatementClaims

_ALLOWED = ("ES256", "ES384", "PS256", "RS256", "ES512", "EdDSA")


def _time(value: object, _: Context) -> tuple[str, str]:
    shown = iso(value)
    return shown, "" if shown else "no epoch seconds"


def _expiry(value: object, context: Context) -> tuple[str, str]:
    shown = iso(value)
    if not shown:
        return "", "no epoch seconds"
    past = context.now is not None and isinstance(value, int | float) and value <= context.now.timestamp()
    return shown, "has run out" if past else ""


def _algorithm(value: object, _: Context) -> tuple[str, str]:
    if value == "none":
        return "", "not signed at all: nobody may take it"
    if isinstance(value, str) and value.startswith("HS"):
        return "", "a secret shared with whoever verifies: nothing here takes it"
    return "", "" if value in _ALLOWED else "none of those taken here"


def _type(value: object, _: Context) -> tuple[str, str]:
    kind = KINDS_OF_TYPE.get(str(value).removeprefix("application/").lower())
    return (kind.title if kind else ""), ""


def _critical(_: object, __: Context) -> tuple[str, str]:
    return "", "a critical header that is not understood here"


JWK: Members = {
    "kty": Member("kind of key"),
    "crv": Member("curve"),
    "x": Member("x coordinate, or the public key"),
    "y": Member("y coordinate"),
    "n": Member("modulus"),
    "e": Member("public exponent"),
    "kid": Member("name of the key"),
    "use": Member("sig: to sign, enc: to encrypt"),
    "alg": Member("the algorithm it is for"),
}
JWS_HEADER: Members = {
    "alg": Member("signature algorithm", tell=_algorithm),
    "typ": Member("what kind of token", tell=_type),
    "kid": Member("name of the signer's key"),
    "jwk": Member("the signer's public key, as the signer says", JWK),
    "x5c": Member("certificates of the signer, leaf first", read=in_base64),
    "crit": Member("extensions that must be understood", tell=_critical),
}
JWE_HEADER: Members = {
    "alg": Member("how the content key is brought to the recipient"),
    "enc": Member("how the content is encrypted"),
    "kid": Member("name of the recipient's key"),
    "epk": Member("the sender's ephemeral public key", JWK),
    "apu": Member("the sender, into the key derivation"),
    "apv": Member("the recipient, into the key derivation"),
    "cty": Member("what the content is"),
    "zip": Member("compression", tell=lambda _, __: ("", "compressed content is not taken")),
    "crit": Member("extensions that must be understood", tell=_critical),
}
CLAIMS: Members = {
    "iss": Member("who issued it"),
    "sub": Member("whom it is about"),
    "aud": Member("whom it is for"),
    "exp": Member("good until", tell=_expiry),
    "nbf": Member("good from", tell=_time),
    "iat": Member("issued at", tell=_time),
    "auth_time": Member("when the user logged in", tell=_time),
    "jti": Member("names this token: it is good once"),
    "htm": Member("method of the request it is for"),
    "htu": Member("URI of the request it is for"),
    "ath": Member("hash of the access token it goes with"),
    "nonce": Member("the server's nonce"),
    "challenge": Member("the server's challenge"),
    "cnf": Member("the key it is bound to", {"jkt": Member("the key's thumbprint"), "jwk": Member("the key", JWK)}),
    "client_id": Member("the OAuth client"),
    "scope": Member("what it allows"),
    "acr": Member("how the user was authenticated"),
    "amr": Member("by which methods the user was authenticated"),
    "eat_nonce": Member("the nonce the hardware was asked with"),
    "eat_profile": Member("which rules the evidence follows"),
    "hw": Member("what hardware says of the key: [media type, base64url, 4 for evidence]"),
    "appName": Member("what the app calls itself; nobody vouches for it"),
    "prev_msg": Member("hash of the message before"),
    "software_id": Member("the software, in all its versions"),
    "software_version": Member("its version"),
    "redirect_uris": Member("where codes may be sent"),
    "jwks": Member("keys of the client", {"keys": Member("", JWK)}),
    "one_time_use": Member("good once"),
    "dispatchTargetId": Member("the dispatch target that signs"),
    "requestId": Member("good once"),
    "creationTimeInEpochMillis": Member("when", tell=lambda value, _: (_millis(value), "")),
    "method": Member("of the request it is for"),
    "path": Member("of the request it is for"),
}


def _millis(value: object) -> str:
    return iso(value / 1000) if type(value) is int else ""


class JwtKind(NamedTuple):
    """A kind of JWT: what it is, and what refuses a payload that is not of it."""

    title: str
    check: Callable[[str], object]


def _typed(type_: type[Any]) -> Callable[[str], object]:
    return lambda text: strictjson.decode(text, type_)


def _evidence(text: str) -> None:
    claims = strictjson.decode(text, EvidenceClaims)
    if claims.eat_profile != PROFILE:
        raise MalformedError("$.eat_profile", f"not {PROFILE}")
    if len(base64url.decode(claims.eat_nonce, "$.eat_nonce")) != 32:
        raise MalformedError("$.eat_nonce", "not 32 bytes")


def _signed_nothing(_: str) -> None:
    return None


KINDS_OF_TYPE = {
    "dpop+jwt": JwtKind("a DPoP proof (RFC 9449)", _typed(DpopClaims)),
    "at+jwt": JwtKind("an access token (RFC 9068)", _typed(AccessTokenClaims)),
    "oauth-client-attestation+jwt": JwtKind("a client attestation", _typed(AttestationClaims)),
    "oauth-client-attestation-pop+jwt": JwtKind("a proof of possession of a client attestation", _typed(PopClaims)),
    "eat+jwt": JwtKind("device evidence (EAT, RFC 9711)", _evidence),
}


def kind_of(header: dict[str, Any], payload: object) -> JwtKind:
    """Return what a JWT is by its typ, or else by its claims."""
    found = KINDS_OF_TYPE.get(str(header.get("typ")).removeprefix("application/").lower())
    names = payload.keys() if isinstance(payload, dict) else set()
    if found is not None:
        return found
    if names >= {"no", "nextUpdate", "entries"}:
        return JwtKind("a BLOB of the FIDO metadata service", _signed_nothing)
    if "software_id" in names or "software_statement" in names:
        return JwtKind("a software statement (RFC 7591)", _typed(StatementClaims))
    if "dispatchTargetId" in names:
        return JwtKind("a device's signature over a request or a change of its dispatch target", _signed_nothing)
    return JwtKind("a JWS", _signed_nothing)
