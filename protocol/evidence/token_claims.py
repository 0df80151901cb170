"""What a PKCS#11 module says of a key and its token: readable, and signed by nobody.

A module can say anything. SoftHSM, whose keys lie in files, says "sensitive" and "never extractable" as an HSM does:
such claims are worth nothing as evidence, and never more than tier `unattested`.
"""

from types import MappingProxyType

import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.evidence.keys import load_spki
from fidoloop.protocol.evidence.possession import show_possession, verify_possession
from fidoloop.protocol.evidence.values import Appraisal, ClaimValue, Evidence, EvidenceKind, Source, Tier

SOFTWARE_TOKEN = "softhsm"  # noqa: S105  # a kind of token, no password
WORTHLESS = "software token: these claims are worth nothing"
UNSIGNED = "signed by no device: a module can claim anything"


class TokenClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """CK_TOKEN_INFO and key attributes (PKCS#11 2.40 sections 3.2 and 4.9); `spki` is base64url DER."""

    spki: str
    token_kind: str
    manufacturer: str
    model: str
    serial: str
    firmware: str
    sensitive: bool
    extractable: bool
    never_extractable: bool
    local: bool
    purposes: tuple[str, ...]


def token_claims_evidence(claims: TokenClaims, *, nonce: bytes, key: PrivateKeyTypes) -> Evidence:
    """Return the claims as evidence, signed by the key they are about, which adds to them only that it is there now.

    Raises:
        ValueError: the nonce is not 8 to 32 bytes.
    """
    return show_possession(EvidenceKind.PKCS11, strictjson.encode(claims).encode(), nonce=nonce, key=key)


def appraise_token_claims(evidence: Evidence) -> Appraisal:
    """Return the claims, marked as what they are.

    Raises:
        MalformedError: not such claims.
        EvidenceRefusal: ALGORITHM of the key.
    """
    said = strictjson.decode(evidence.value, TokenClaims, evidence.kind)
    claims: dict[str, ClaimValue] = {name: getattr(said, name) for name in said.__struct_fields__ if name != "spki"}
    claims["note"] = WORTHLESS if said.token_kind == SOFTWARE_TOKEN else UNSIGNED
    return Appraisal(
        kind=evidence.kind,
        tier=Tier.UNATTESTED,
        source=Source.UNSIGNED,
        key=load_spki(base64url.decode(said.spki, f"{evidence.kind}.spki")),
        signed_by="",
        claims=MappingProxyType(claims),
    )


def verify_token_claims(evidence: Evidence, *, expected_nonce: bytes) -> Appraisal:
    """Appraise as `appraise_token_claims`, then verify that the key signed the nonce (POSSESSION)."""
    found = appraise_token_claims(evidence)
    verify_possession(evidence, found.key, expected_nonce=expected_nonce)
    return found
