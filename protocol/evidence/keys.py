"""Public keys in evidence, and signatures by them, under one allow-list."""

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fidoloop.protocol.evidence.values import EvidenceCheck, EvidenceRefusal
from fidoloop.protocol.jose import MAX_RSA_BITS, MAX_RSA_EXPONENT_BITS, MIN_RSA_BITS, PublicKey

_CURVES = (ec.SECP256R1, ec.SECP384R1)
_HASH_OF_KEY_SIZE: dict[int, Callable[[], hashes.HashAlgorithm]] = {256: hashes.SHA256, 384: hashes.SHA384}


def allowed_key(key: object) -> PublicKey:
    """Return `key` if it is on P-256 or P-384, or RSA of 2048 to 4096 bits.

    Raises:
        EvidenceRefusal: ALGORITHM.
    """
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        exponent = key.public_numbers().e
        if MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS and exponent.bit_length() <= MAX_RSA_EXPONENT_BITS:
            return key
    raise EvidenceRefusal(EvidenceCheck.ALGORITHM, "a key is neither on P-256 or P-384 nor RSA of 2048 to 4096 bits")


def certified_key(certificate: x509.Certificate) -> PublicKey:
    """Return the certificate's key. Raises EvidenceRefusal: ALGORITHM."""
    try:
        return allowed_key(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceRefusal(EvidenceCheck.ALGORITHM, "a certified key cannot be read") from None


def load_spki(der: bytes) -> PublicKey:
    """Return the key of a DER SubjectPublicKeyInfo. Raises EvidenceRefusal: ALGORITHM."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceRefusal(EvidenceCheck.ALGORITHM, "a public key cannot be read") from None
    return allowed_key(key)


def spki(key: PublicKeyTypes) -> bytes:
    """Return the DER SubjectPublicKeyInfo of `key`: equal for equal keys."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def verify_with(key: PublicKey, signature: bytes, data: bytes, *, what: EvidenceCheck) -> None:
    """Verify a signature in the key's usual algorithm: ECDSA (DER) with the curve's hash, PKCS #1 v1.5 with SHA-256.

    Raises:
        EvidenceRefusal: `what`.
    """
    try:
        key.verify(signature, data, *usual_algorithm(key))
    except InvalidSignature:
        raise EvidenceRefusal(what, "the signature does not verify") from None


def sign_with(key: PrivateKeyTypes, data: bytes) -> bytes:
    """Sign as `verify_with` verifies. Raises EvidenceRefusal (ALGORITHM) for a key of another kind."""
    public = allowed_key(key.public_key())
    signature: bytes = key.sign(data, *usual_algorithm(public))  # type: ignore[union-attr]
    return signature


def usual_algorithm(key: PublicKey) -> tuple[Any, ...]:
    """Return what cryptography's sign and verify take after the data."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return (ec.ECDSA(_HASH_OF_KEY_SIZE[key.curve.key_size]()),)
    return (padding.PKCS1v15(), hashes.SHA256())
