"""Signatures as WebAuthn has them, held against a key of whatever kind: ECDSA in DER with the hash of its curve."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa


def verify_der(key: object, signature: bytes, data: bytes) -> None:
    """Verify by the usual algorithm of a key: ES256 to ES512, RS256, EdDSA.

    Raises:
        InvalidSignature: it does not verify.
        ValueError: a kind of key that signs no credential.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        size = key.curve.key_size
        key.verify(signature, data, ec.ECDSA(_HASHES[256 if size <= 256 else 384 if size <= 384 else 521]))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
    else:
        raise ValueError("the key is of a kind that signs no credential")


_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
