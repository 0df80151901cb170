"""RSA schemes as cryptography names them, and their encodings for devices that do the raw operation only (RFC 8017)."""

import hashlib
import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding

from fidoloop.hsm.oaep import mgf1

HASHES: Final = ("sha1", "sha256", "sha384", "sha512")
"""Hashes of OAEP and of MGF1; signatures take no SHA-1, see `hashing.digest_of`."""

# DER of DigestInfo up to the digest (RFC 8017 9.2, note 1).
_DIGEST_INFO: Final = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


@dataclass(frozen=True)
class SignatureScheme:
    """RSASSA-PKCS1-v1_5 where `mgf_hash` is None, else RSASSA-PSS; hashes by hashlib's names, lengths in bytes."""

    hash_name: str
    mgf_hash: str | None = None
    salt_length: int = 0


@dataclass(frozen=True)
class OaepParameters:
    """RSAES-OAEP; hashes by hashlib's names."""

    hash_name: str
    mgf_hash: str
    label: bytes


def signature_scheme(scheme: AsymmetricPadding, hash_name: str, digest_size: int, key_size: int) -> SignatureScheme:
    """Read a signature padding of cryptography's.

    Raises:
        UnsupportedAlgorithm: neither PKCS1v15 nor PSS, or MGF1 with another hash.
        ValueError: PSS.AUTO, which is for verification.
    """
    if isinstance(scheme, padding.PKCS1v15):
        return SignatureScheme(hash_name)
    if not isinstance(scheme, padding.PSS):
        raise UnsupportedAlgorithm("RSA hardware keys sign with PKCS1v15 or PSS")
    mgf_hash = _mgf_hash(scheme.mgf)
    salt = scheme._salt_length  # cryptography gives no public way to read it
    if salt is padding.PSS.DIGEST_LENGTH:
        salt = digest_size
    elif salt is padding.PSS.MAX_LENGTH:
        salt = key_size // 8 - digest_size - 2
    if not isinstance(salt, int):
        raise ValueError("PSS.AUTO is for verification only")
    return SignatureScheme(hash_name, mgf_hash, salt)


def oaep_parameters(scheme: AsymmetricPadding) -> OaepParameters:
    """Read an OAEP padding of cryptography's. Raises UnsupportedAlgorithm for any other."""
    if not isinstance(scheme, padding.OAEP):
        raise UnsupportedAlgorithm("RSA hardware keys decrypt OAEP only")
    name = scheme.algorithm.name
    if name not in HASHES:
        raise UnsupportedAlgorithm(f"OAEP with {name} is not supported")
    label = scheme._label or b""  # cryptography gives no public way to read it
    return OaepParameters(name, _mgf_hash(scheme.mgf), label)


def digest_info(digest: bytes, hash_name: str) -> bytes:
    """Return the DER of DigestInfo, which RSASSA-PKCS1-v1_5 signs (RFC 8017 9.2)."""
    return _DIGEST_INFO[hash_name] + digest


def pad_signature(digest: bytes, scheme: SignatureScheme, size: int) -> bytes:
    """Return the block of `size` bytes that the raw RSA operation signs (RFC 8017 9.1.1 and 9.2).

    The modulus has 8 * `size` bits. Raises ValueError where digest and salt do not fit.
    """
    if scheme.mgf_hash is not None:
        return _pad_pss(digest, scheme, scheme.mgf_hash, size)
    content = digest_info(digest, scheme.hash_name)
    return b"\0\1" + b"\xff" * (size - len(content) - 3) + b"\0" + content


def _pad_pss(digest: bytes, scheme: SignatureScheme, mgf_hash: str, size: int) -> bytes:
    free = size - len(digest) - scheme.salt_length - 2
    if free < 0 or scheme.salt_length < 0:
        raise ValueError("the salt does not fit the key")
    salt = os.urandom(scheme.salt_length)
    hashed = hashlib.new(scheme.hash_name, bytes(8) + digest + salt).digest()
    data = bytes(free) + b"\1" + salt
    mask = mgf1(hashed, len(data), mgf_hash)
    masked = bytearray(left ^ right for left, right in zip(data, mask, strict=True))
    masked[0] &= 0x7F  # emBits is one less than the modulus has
    return bytes(masked) + hashed + b"\xbc"


def _mgf_hash(mgf: object) -> str:
    algorithm = getattr(mgf, "_algorithm", None) if isinstance(mgf, padding.MGF1) else None
    name = getattr(algorithm, "name", None)
    if name not in HASHES:
        raise UnsupportedAlgorithm("MGF1 with SHA-1, SHA-256, SHA-384 or SHA-512 is supported")
    return str(name)
