"""Device evidence tokens: what hardware says of a client instance's key, in an EAT signed by that key.

OAuth contract 7.3; RFC 9711 (EAT) for the envelope, draft-ietf-rats-msg-wrap for what is inside.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from msgspec import UNSET, UnsetType

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence import cmw
from fidoloop.protocol.evidence.values import Anchors, Appraisal, Evidence, EvidenceRefusal
from fidoloop.protocol.evidence.verify import verify_evidence
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.errors import OAuthRefusal

TYPE: Final = "eat+jwt"
PROFILE: Final = "tag:fidoloop,2026:device-evidence#1"
ALGORITHMS: Final = ("ES256", "ES384", "PS256", "RS256")
NONCE_BYTES: Final = 32
SECONDS_PAST: Final = 300
SECONDS_FUTURE: Final = 60
BAD: Final = "bad_attestation"
_NONCE = re.compile(r"[A-Za-z0-9_-]{43}")


class EvidenceClaims(msgspec.Struct, frozen=True):
    """What the token says; `eat_nonce` is base64url of the 32 bytes that the hardware was asked with too."""

    eat_profile: str
    eat_nonce: str
    aud: str
    iat: int
    jti: str
    hw: list[cmw.Record]
    appName: str | UnsetType = UNSET
    app_id: str | UnsetType = UNSET
    app_checksum: str | UnsetType = UNSET


class DeviceEvidence(NamedTuple):
    """A token read and signed by the key in its header; its hardware evidence is **not verified** yet."""

    claims: EvidenceClaims
    jwk: PublicJwk
    evidence: Evidence

    @property
    def nonce(self) -> bytes:
        """The nonce, 32 bytes: whether it is one that was given out, and used once, is the caller's to tell."""
        return base64url.decode(self.claims.eat_nonce, "eat_nonce")


def make_device_evidence(
    key: PrivateKeyTypes, evidence: Evidence, *, nonce: str, audience: str, now: int, token_id: str, app_name: str
) -> str:
    """Return the token.

    Args:
        key: the client instance's key, which `evidence` is about.
        evidence: of a device asked with the bytes of `nonce`.
        nonce: the verifier's, base64url of 32 bytes.
        audience: the URI of the registration or attester service.
        now: epoch seconds.
        token_id: `jti`.
        app_name: what the instance calls itself; nobody vouches for it.
    """
    public = jose.jose_private_key(key)[1]
    claims = EvidenceClaims(PROFILE, nonce, audience, now, token_id, cmw.to_records(evidence), appName=app_name)
    return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key, {"typ": TYPE, "jwk": public.members})


def read_device_evidence(token: str, *, expected_audience: str, now: int) -> DeviceEvidence:
    """Return the token's content after verifying that the key in its header signed it, for this service, now.

    Raises:
        OAuthRefusal: bad_attestation.
    """
    try:
        parsed = jose.parse_compact(token, "evidence")
        header: dict[str, Any] = parsed.header
        if header.get("typ") != TYPE or not isinstance(header.get("jwk"), dict):
            raise OAuthRefusal(BAD, f"typ is not {TYPE}, or there is no jwk")
        jwk = jose.parse_public_jwk(header["jwk"], "evidence header jwk")
        jose.verify_parsed(parsed, jwk, ALGORITHMS)
        claims = strictjson.decode(parsed.payload, EvidenceClaims, "evidence")
        evidence = cmw.from_records(claims.hw, "evidence.hw")
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(BAD, str(error)) from None
    if claims.eat_profile != PROFILE:
        raise OAuthRefusal(BAD, f"eat_profile is not {PROFILE}")
    if claims.aud != expected_audience:
        raise OAuthRefusal(BAD, "the evidence is for another service")
    if not now - SECONDS_PAST <= claims.iat <= now + SECONDS_FUTURE:
        raise OAuthRefusal(BAD, "iat is too far from the server's clock")
    if not _NONCE.fullmatch(claims.eat_nonce):
        raise OAuthRefusal(BAD, "eat_nonce is not 32 bytes in base64url")
    return DeviceEvidence(claims, jwk, evidence)


def appraise_device_evidence(found: DeviceEvidence, *, anchors: Anchors, now: int) -> Appraisal:
    """Return what the hardware says of the very key that signed the token, for the token's nonce.

    Raises:
        OAuthRefusal: bad_attestation, naming the check that failed.
    """
    at = datetime.fromtimestamp(now, UTC)
    try:
        return verify_evidence(
            found.evidence, anchors=anchors, expected_nonce=found.nonce, expected_key=found.jwk.key, at=at
        )
    except (MalformedError, EvidenceRefusal) as error:
        raise OAuthRefusal(BAD, str(error)) from None
