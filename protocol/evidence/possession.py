"""Showing that whoever presents evidence has the key now, for the kinds of evidence that carry no nonce."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from fidoloop.protocol.evidence.keys import sign_with, verify_with
from fidoloop.protocol.evidence.values import (
    MAX_NONCE_BYTES,
    MIN_NONCE_BYTES,
    Evidence,
    EvidenceCheck,
    EvidenceKind,
    EvidenceRefusal,
)
from fidoloop.protocol.jose import PublicKey

_PREFIX = b"fidoloop key possession 1\0"


def check_nonce(nonce: bytes) -> None:
    """Refuse a nonce that is not 8 to 32 bytes. Raises ValueError."""
    if not MIN_NONCE_BYTES <= len(nonce) <= MAX_NONCE_BYTES:
        raise ValueError(f"a nonce has {MIN_NONCE_BYTES} to {MAX_NONCE_BYTES} bytes, not {len(nonce)}")


def possession_message(kind: EvidenceKind, value: bytes, nonce: bytes) -> bytes:
    """Return what the key signs: no other signature of such a key begins so, and both ends are of fixed length."""
    return _PREFIX + kind.encode() + b"\0" + hashlib.sha256(value).digest() + hashlib.sha256(nonce).digest()


def show_possession(kind: EvidenceKind, value: bytes, *, nonce: bytes, key: PrivateKeyTypes) -> Evidence:
    """Return evidence of this kind with the key's signature over `nonce`.

    Raises:
        ValueError: the nonce is not 8 to 32 bytes.
    """
    check_nonce(nonce)
    return Evidence(kind, value, sign_with(key, possession_message(kind, value, nonce)))


def verify_possession(evidence: Evidence, key: PublicKey, *, expected_nonce: bytes) -> None:
    """Verify that `key` signed this evidence for this nonce.

    Raises:
        EvidenceRefusal: POSSESSION.
    """
    if not evidence.possession:
        raise EvidenceRefusal(EvidenceCheck.POSSESSION, "there is no signature by the key over the nonce")
    message = possession_message(evidence.kind, evidence.value, expected_nonce)
    verify_with(key, evidence.possession, message, what=EvidenceCheck.POSSESSION)
