"""Hashing on the host: what `sign` of cryptography's interface asks for before the token signs."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import utils

SIGNATURE_HASHES: Final = ("sha256", "sha384", "sha512")


def digest_of(data: bytes, algorithm: object) -> tuple[bytes, str]:
    """Return the digest to sign and the name of its hash.

    Args:
        data: the message, or with `Prehashed` its digest.
        algorithm: SHA256, SHA384, SHA512, or `Prehashed` of one of them.

    Raises:
        UnsupportedAlgorithm: another hash.
        ValueError: a digest of the wrong length.
    """
    inner = getattr(algorithm, "_algorithm", None) if isinstance(algorithm, utils.Prehashed) else algorithm
    if not isinstance(inner, hashes.HashAlgorithm) or inner.name not in SIGNATURE_HASHES:
        raise UnsupportedAlgorithm("hardware keys sign SHA-256, SHA-384 and SHA-512 digests")
    if isinstance(algorithm, utils.Prehashed):
        if len(data) != inner.digest_size:
            raise ValueError(f"a {inner.name} digest has {inner.digest_size} bytes, not {len(data)}")
        return bytes(data), inner.name
    context = hashes.Hash(inner)
    context.update(data)
    return context.finalize(), inner.name
