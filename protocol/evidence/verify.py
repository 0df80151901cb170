"""Verifying evidence of any kind, and reading it without."""

from collections.abc import Mapping
from datetime import datetime

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.certificate_chain import decode_chain
from fidoloop.protocol.evidence.device_certificate import verify_device_certificate
from fidoloop.protocol.evidence.keys import certified_key, spki
from fidoloop.protocol.evidence.pkix import describe_pkix, verify_pkix
from fidoloop.protocol.evidence.token_claims import appraise_token_claims, verify_token_claims
from fidoloop.protocol.evidence.tpm import describe_tpm, verify_tpm
from fidoloop.protocol.evidence.values import (
    MAX_VALUE_BYTES,
    Anchors,
    Appraisal,
    ClaimValue,
    Evidence,
    EvidenceCheck,
    EvidenceKind,
    EvidenceRefusal,
)
from fidoloop.protocol.evidence.vendor_extensions import piv_claims, yubihsm_claims
from fidoloop.protocol.jose import PublicKey


def verify_evidence(
    evidence: Evidence, *, anchors: Anchors, expected_nonce: bytes, expected_key: PublicKey | None, at: datetime
) -> Appraisal:
    """Return what `evidence` says if it verifies.

    Args:
        evidence: of any kind.
        anchors: what is trusted; none is built in.
        expected_nonce: the one that was sent out for this evidence; that it is used once is the caller's business.
        expected_key: the key it must be about; None where the caller takes whichever it is about.
        at: UTC; certificates must be valid then.

    Raises:
        MalformedError: it cannot be read as its kind.
        EvidenceRefusal: a check fails; `check` names it.
    """
    _check_size(evidence)
    if evidence.kind in (EvidenceKind.PIV, EvidenceKind.YUBIHSM):
        found = verify_device_certificate(evidence, anchors=anchors, expected_nonce=expected_nonce, at=at)
    elif evidence.kind is EvidenceKind.TPM:
        found = verify_tpm(evidence, anchors=anchors, expected_nonce=expected_nonce, at=at)
    elif evidence.kind is EvidenceKind.PKIX:
        found = verify_pkix(evidence, anchors=anchors, expected_nonce=expected_nonce, expected_key=expected_key, at=at)
    else:
        found = verify_token_claims(evidence, expected_nonce=expected_nonce)
    if expected_key is not None and spki(found.key) != spki(expected_key):
        raise EvidenceRefusal(EvidenceCheck.KEY, "the evidence is about another key")
    return found


def describe_evidence(evidence: Evidence) -> tuple[PublicKey, Mapping[str, ClaimValue]]:
    """Return the key and the claims as they stand, **nothing verified**: for people to read, never for a decision.

    Raises:
        MalformedError: it cannot be read as its kind.
        EvidenceRefusal: ALGORITHM or KEY: about no key this program knows; EXTENSION.
    """
    _check_size(evidence)
    if evidence.kind is EvidenceKind.TPM:
        return describe_tpm(evidence)
    if evidence.kind is EvidenceKind.PKIX:
        return describe_pkix(evidence)
    if evidence.kind is EvidenceKind.PKCS11:
        said = appraise_token_claims(evidence)
        return said.key, said.claims
    chain = decode_chain(evidence.value, evidence.kind)
    key = certified_key(chain[0])
    if evidence.kind is EvidenceKind.YUBIHSM:
        return key, yubihsm_claims(chain[0])
    return key, piv_claims(chain[0], chain[1] if len(chain) > 1 else None)


def _check_size(evidence: Evidence) -> None:
    if len(evidence.value) > MAX_VALUE_BYTES:
        raise MalformedError(evidence.kind, f"more than {MAX_VALUE_BYTES} bytes")
