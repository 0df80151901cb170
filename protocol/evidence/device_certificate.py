"""Evidence of devices that certify their keys: PIV attestation (slot F9) and YubiHSM 2 attestation.

Such a certificate carries no nonce: it says that the key was made in the device, not who presents it. That is shown by
a signature of the key.
"""

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from fidoloop.protocol.evidence.certificate_chain import decode_chain, encode_chain, verify_chain
from fidoloop.protocol.evidence.keys import certified_key
from fidoloop.protocol.evidence.possession import show_possession, verify_possession
from fidoloop.protocol.evidence.values import (
    Anchors,
    Appraisal,
    Evidence,
    EvidenceKind,
    Source,
    Tier,
)
from fidoloop.protocol.evidence.vendor_extensions import piv_claims, yubihsm_claims


def device_certificate_evidence(
    kind: EvidenceKind, chain: Sequence[bytes], *, nonce: bytes, key: PrivateKeyTypes
) -> Evidence:
    """Return evidence of a certificate the device made: its chain (DER, leaf first), signed by the attested key.

    Args:
        kind: PIV or YUBIHSM.
        chain: the attested key's certificate, the attesting one (slot F9), intermediates; the root may be left out.
        nonce: the verifier's, 8 to 32 bytes.
        key: the attested private key, in its device.

    Raises:
        ValueError: the nonce is of another size.
    """
    return show_possession(kind, encode_chain(chain), nonce=nonce, key=key)


def appraise_device_certificate(evidence: Evidence, *, anchors: Anchors, at: datetime) -> Appraisal:
    """Return what the device certifies, its chain verified at `at` (UTC); who presents it is left open.

    Raises:
        MalformedError: the value is no chain of certificates.
        EvidenceRefusal: ANCHOR, ALGORITHM, VALIDITY, CA, EXTENSION.
    """
    chain = decode_chain(evidence.value, evidence.kind)
    root = verify_chain(chain, roots=anchors.certificates, at=at)
    if evidence.kind is EvidenceKind.PIV:
        claims = piv_claims(chain[0], chain[1] if len(chain) > 1 else None)
    else:
        claims = yubihsm_claims(chain[0])
    return Appraisal(
        kind=evidence.kind,
        tier=Tier.ATTESTED,
        source=Source.DEVICE,
        key=certified_key(chain[0]),
        signed_by=root.subject.rfc4514_string(),
        claims=MappingProxyType(claims),
    )


def verify_device_certificate(
    evidence: Evidence, *, anchors: Anchors, expected_nonce: bytes, at: datetime
) -> Appraisal:
    """Appraise as `appraise_device_certificate`, then verify that the key signed the nonce (POSSESSION)."""
    found = appraise_device_certificate(evidence, anchors=anchors, at=at)
    verify_possession(evidence, found.key, expected_nonce=expected_nonce)
    return found
