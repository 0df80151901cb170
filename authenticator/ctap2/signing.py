"""Algorithms of credentials, by their COSE numbers: the key the token makes, and the signature it gives."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from fido2.cose import CoseKey

from fidoloop.hsm.keystore import (
    EcHardwareKey,
    Ed25519HardwareKey,
    HardwareKey,
    KeyAlgorithm,
    RsaHardwareKey,
    TokenInfo,
)

ES256, ES384, EDDSA, RS256 = -7, -35, -8, -257


_SEQUENCE, _INTEGER, _SIGN = 0x30, 0x02, 0x80


class SignatureAlgorithm(msgspec.Struct, frozen=True):
    """One algorithm: its COSE number, the kind of key, and how such a key signs."""

    cose: int
    key: KeyAlgorithm
    sign: Callable[[Any, bytes], bytes]


def _unsigned(number: bytes) -> bytes:
    """Return the DER INTEGER: cryptography's way over Python's numbers takes a twentieth of a signature."""
    number = number.lstrip(b"\0")
    if not number or number[0] >= _SIGN:
        number = b"\0" + number
    return bytes((_INTEGER, len(number))) + number


def _ecdsa(hash_of: Callable[[bytes], Any], size: int) -> Callable[[EcHardwareKey, bytes], bytes]:
    """Return what signs with ECDSA; `size` is that of the order, and of the digest, in bytes: 32 or 48."""

    def sign(key: EcHardwareKey, data: bytes) -> bytes:
        raw = key.sign_digest_raw(hash_of(data).digest())
        r, s = _unsigned(raw[:size]), _unsigned(raw[size:])
        return bytes((_SEQUENCE, len(r) + len(s))) + r + s

    return sign


def _eddsa(key: Ed25519HardwareKey, data: bytes) -> bytes:
    return key.sign(data)


def _rsa(key: RsaHardwareKey, data: bytes) -> bytes:
    return key.sign(data, PKCS1v15(), hashes.SHA256())


ALGORITHMS: Final = {
    algorithm.cose: algorithm
    for algorithm in (
        SignatureAlgorithm(ES256, KeyAlgorithm.P256, _ecdsa(hashlib.sha256, 32)),
        SignatureAlgorithm(ES384, KeyAlgorithm.P384, _ecdsa(hashlib.sha384, 48)),
        SignatureAlgorithm(EDDSA, KeyAlgorithm.ED25519, _eddsa),
        SignatureAlgorithm(RS256, KeyAlgorithm.RSA2048, _rsa),
    )
}
"""In the order in which they are claimed."""


def supported(token: TokenInfo) -> dict[int, SignatureAlgorithm]:
    """Return the algorithms whose keys this token makes."""
    if not token.makes_keys:
        return {}
    return {number: found for number, found in ALGORITHMS.items() if found.key in token.algorithms}


def cose_key(key: HardwareKey, algorithm: int) -> dict[int, Any]:
    """Return the public key as a COSE key (RFC 9053)."""
    return dict(CoseKey.for_alg(algorithm).from_cryptography_key(key.public_key()))
