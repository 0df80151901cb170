"""Client attestations and their proofs of possession, by the order of checks of OAuth contract 2.2.

Attestation-Based Client Authentication, draft-ietf-oauth-attestation-based-client-auth. That a proof is used once, and
that a challenge is this server's, is told by the caller, who has the store.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from msgspec import UNSET, UnsetType

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.device_facts import DeviceFacts
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import PreviousMessage

ATTESTATION_TYPE: Final = "oauth-client-attestation+jwt"
POP_TYPE: Final = "oauth-client-attestation-pop+jwt"
ALGORITHMS: Final = ("ES256", "ES384", "PS256", "RS256")
MAX_CHARACTERS: Final = 16384
MAX_JTI_CHARACTERS: Final = 256
POP_SECONDS_PAST: Final = 300
POP_SECONDS_FUTURE: Final = 60
SKEW_SECONDS: Final = 60

INVALID_CLIENT: Final = "invalid_client"
INVALID: Final = "invalid_client_attestation"
USE_CHALLENGE: Final = "use_attestation_challenge"
USE_FRESH: Final = "use_fresh_attestation"

T = TypeVar("T")

_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Confirmation(msgspec.Struct, frozen=True):
    """`cnf`: the client instance's public key, as a JWK."""

    jwk: dict[str, Any]


class AttestationClaims(msgspec.Struct, frozen=True):
    """The claims that this protocol names; those about the device are in `ClientAttestation.claims`."""

    sub: str
    exp: int
    cnf: Confirmation
    iat: int | UnsetType = UNSET
    iss: str | UnsetType = UNSET


class PopClaims(msgspec.Struct, frozen=True):
    """The claims of a proof of possession; `prev_msg` is our own extension, others are ignored."""

    aud: str
    jti: str
    iat: int
    challenge: str | UnsetType = UNSET
    prev_msg: PreviousMessage | UnsetType = UNSET


class ClientAttestation(NamedTuple):
    """A verified attestation: whose, until when (epoch seconds), the instance's key and every claim.

    `facts` are those of the device, None where the claims name none that can be read.
    """

    client_id: str
    attester: str
    expires_at: int
    issued_at: int | None
    jwk: PublicJwk
    thumbprint: str
    claims: dict[str, Any]
    facts: DeviceFacts | None


class Pop(NamedTuple):
    """A verified proof; `replay_key` must not be seen again until `expires_at` (epoch seconds)."""

    claims: PopClaims
    replay_key: str
    expires_at: int


def make_client_attestation(key: PrivateKeyTypes, claims: Mapping[str, Any], kid: str) -> str:
    """Return an attestation signed by the attester's key; `claims` holds sub, exp, iat, cnf and those of the device."""
    header = {"typ": ATTESTATION_TYPE, "kid": kid}
    return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key, header)


def make_pop(key: PrivateKeyTypes, claims: PopClaims) -> str:
    """Return a proof of possession signed by the client instance's key, a hardware key or another."""
    return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key, {"typ": POP_TYPE})


def verify_client_attestation(
    fields: Sequence[str],
    *,
    attesters: Mapping[str, PublicJwk],
    now: int,
    expected_client_id: str | None = None,
    max_age: int | None = None,
) -> ClientAttestation:
    """Return the attestation in the `OAuth-Client-Attestation` header fields of a request.

    Args:
        fields: every such field of the request as it was sent, not joined.
        attesters: the attesters' keys that are trusted, by `kid`; nothing in the attestation adds to them.
        now: epoch seconds.
        expected_client_id: that the request or session names.
        max_age: seconds since `iat`; None for any.

    Raises:
        OAuthRefusal: invalid_client where there is none; use_fresh_attestation where it is too old; otherwise
            invalid_client_attestation.
    """
    if not fields:
        raise OAuthRefusal(INVALID_CLIENT, "there is no client attestation")
    if len(fields) != 1:
        raise _not_one(fields, "OAuth-Client-Attestation")
    attester = _kid(fields[0])
    if attester not in attesters:
        raise OAuthRefusal(INVALID, "the attester's key is not one that is trusted")
    signed = _signed(fields[0], attesters[attester].to_json())
    claims = signed.claims
    if claims.exp <= now - SKEW_SECONDS:
        raise OAuthRefusal(USE_FRESH, "the client attestation is expired")
    issued_at = None if claims.iat is UNSET else claims.iat
    if issued_at is not None and issued_at > now + SKEW_SECONDS:
        raise OAuthRefusal(INVALID, "iat of the client attestation is in the future")
    if max_age is not None and (issued_at is None or now - issued_at > max_age):
        raise OAuthRefusal(USE_FRESH, "the client attestation is older than is allowed")
    if expected_client_id is not None and not hmac.compare_digest(
        claims.sub.encode("utf-8"), expected_client_id.encode("utf-8")
    ):
        raise OAuthRefusal(INVALID, "the client attestation is of another client")
    return ClientAttestation(
        claims.sub,
        attester,
        claims.exp,
        issued_at,
        signed.jwk,
        signed.thumbprint,
        signed.everything,
        signed.facts,
    )


def verify_pop(
    fields: Sequence[str],
    attestation: ClientAttestation,
    *,
    expected_audience: str,
    is_challenge: Callable[[str], bool] | None,
    now: int,
) -> Pop:
    """Return the proof in the `OAuth-Client-Attestation-PoP` header fields of a request.

    Args:
        fields: every such field of the request as it was sent, not joined.
        attestation: verified, of the same request.
        expected_audience: the issuer or resource identifier, exactly.
        is_challenge: tells whether a challenge is one of this server's that is still good; None where none are given.
        now: epoch seconds.

    Raises:
        OAuthRefusal: use_attestation_challenge where the challenge is missing or not good, otherwise
            invalid_client_attestation.
    """
    if len(fields) != 1:
        raise _not_one(fields, "OAuth-Client-Attestation-PoP")
    _check_token(fields[0], "OAuth-Client-Attestation-PoP")
    parsed = _read(fields[0], "OAuth-Client-Attestation-PoP", POP_TYPE)
    _verify_signature(parsed, attestation.jwk, ALGORITHMS)
    claims = _decode(parsed.payload, PopClaims, "proof of possession")
    if not 1 <= len(claims.jti) <= MAX_JTI_CHARACTERS:
        raise OAuthRefusal(INVALID, f"jti is not 1 to {MAX_JTI_CHARACTERS} characters")
    if not now - POP_SECONDS_PAST <= claims.iat <= now + POP_SECONDS_FUTURE:
        raise OAuthRefusal(INVALID, "iat of the proof of possession is too far from the server's clock")
    if claims.aud != expected_audience:
        raise OAuthRefusal(INVALID, "the proof of possession is for another audience")
    if is_challenge is not None:
        if claims.challenge is UNSET:
            raise OAuthRefusal(USE_CHALLENGE, "a challenge of this server is needed")
        if not is_challenge(claims.challenge):
            raise OAuthRefusal(USE_CHALLENGE, "the challenge is not one of this server, or too old")
    seen = f"{attestation.thumbprint}|{claims.jti}"
    replay_key = base64url.encode(hashlib.sha256(seen.encode("utf-8")).digest())
    return Pop(claims, replay_key, claims.iat + POP_SECONDS_PAST + 1)


def check_combined(attestation: ClientAttestation, proof_thumbprint: str) -> None:
    """Check that a DPoP proof serves as proof of possession: its key is the attested one (section 5.2).

    Raises:
        OAuthRefusal: invalid_client_attestation.
    """
    if not hmac.compare_digest(attestation.thumbprint, proof_thumbprint):
        raise OAuthRefusal(INVALID, "the DPoP proof is by another key than the attested one")


class _Signed(NamedTuple):
    claims: AttestationClaims
    jwk: PublicJwk
    thumbprint: str
    everything: dict[str, Any]
    facts: DeviceFacts | None


@lru_cache(maxsize=1024)
def _signed(field: str, attester: str) -> _Signed:
    """Return what an attestation says if the attester's key (a JWK text) signed it.

    Kept: a client shows the same attestation with every request, and its signature does not change. Its time does.
    """
    parsed = _read(field, "OAuth-Client-Attestation", ATTESTATION_TYPE)
    _verify_signature(parsed, jose.parse_public_jwk(attester, "attester"), ALGORITHMS)
    claims = _decode(parsed.payload, AttestationClaims, "client attestation")
    jwk = _instance_key(claims.cnf.jwk)
    everything = strictjson.loads(parsed.payload, "client attestation")
    return _Signed(claims, jwk, jwk.thumbprint, everything, _facts(everything))


def _facts(claims: dict[str, Any]) -> DeviceFacts | None:
    try:
        return msgspec.convert(claims, DeviceFacts)
    except msgspec.ValidationError:
        return None


@lru_cache(maxsize=1024)
def _kid(field: str) -> str:
    _check_token(field, "OAuth-Client-Attestation")
    try:
        kid = jose.read_header(field.partition(".")[0], "OAuth-Client-Attestation").get("kid")
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(INVALID, str(error)) from None
    return kid if isinstance(kid, str) else ""


def _not_one(fields: Sequence[str], name: str) -> OAuthRefusal:
    return OAuthRefusal(INVALID, f"{len(fields)} {name} header fields, 1 expected")


def _check_token(field: str, name: str) -> None:
    if len(field) > MAX_CHARACTERS or not _TOKEN68.fullmatch(field):
        raise OAuthRefusal(INVALID, f"{name} is too long or no token")


def _read(field: str, name: str, typ: str) -> jose.CompactJws:
    try:
        parsed = jose.parse_compact(field, name)
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(INVALID, str(error)) from None
    if parsed.header.get("typ") != typ:
        raise OAuthRefusal(INVALID, f"typ of {name} is not {typ}")
    return parsed


def _verify_signature(parsed: jose.CompactJws, key: PublicJwk, algorithms: Collection[str]) -> None:
    try:
        jose.verify_parsed(parsed, key, algorithms)
    except jose.JoseRefusal as error:
        raise OAuthRefusal(INVALID, str(error)) from None


def _decode(payload: bytes, type_: type[T], what: str) -> T:
    try:
        return strictjson.decode(payload, type_, what)
    except MalformedError as error:
        raise OAuthRefusal(INVALID, str(error)) from None


def _instance_key(jwk: dict[str, Any]) -> PublicJwk:
    try:
        return jose.parse_public_jwk(jwk, "cnf.jwk")
    except MalformedError as error:
        raise OAuthRefusal(INVALID, str(error)) from None
