"""Algorithms of credentials, by their COSE numbers: the key the token makes, and the signature it gives."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from fido2.cose import CoseKey

from fidoloop.hsm.keystore import EcHardwareKey, HardwareKey, KeyAlgorithm, RsaHardwareKey, TokenInfo

ES256, ES384, RS256 = -7, -35, -257


class SignatureAlgorithm(msgspec.Struct, frozen=True):
    """One algorithm; `mechanisms` are what a PKCS#11 token has that can do it."""

    cose: int
    key: KeyAlgorithm
    mechanisms: frozenset[str]
    sign: Callable[[Any, bytes], bytes]


def _ecdsa(hash_name: str, size: int) -> Callable[[EcHardwareKey, bytes], bytes]:
    def sign(key: EcHardwareKey, data: bytes) -> bytes:
        raw = key.sign_digest_raw(hashlib.new(hash_name, data).digest())
        return encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    return sign


def _rsa(key: RsaHardwareKey, data: bytes) -> bytes:
    return key.sign(data, PKCS1v15(), hashes.SHA256())


_EC: Final = frozenset({"EC_KEY_PAIR_GEN", "ECDSA"})
ALGORITHMS: Final = {
    algorithm.cose: algorithm
    for algorithm in (
        SignatureAlgorithm(ES256, KeyAlgorithm.P256, _EC, _ecdsa("sha256", 32)),
        SignatureAlgorithm(ES384, KeyAlgorithm.P384, _EC, _ecdsa("sha384", 48)),
        SignatureAlgorithm(RS256, KeyAlgorithm.RSA2048, frozenset({"RSA_PKCS_KEY_PAIR_GEN"}), _rsa),
    )
}
"""In the order in which they are claimed."""


def supported(token: TokenInfo) -> dict[int, SignatureAlgorithm]:
    """Return the algorithms whose keys this token makes."""
    if not token.makes_keys:
        return {}
    if token.kind == "piv":  # names no key-pair mechanisms
        return ALGORITHMS
    return {number: found for number, found in ALGORITHMS.items() if token.mechanisms >= found.mechanisms}


def cose_key(key: HardwareKey, algorithm: int) -> dict[int, Any]:
    """Return the public key as a COSE key (RFC 9053)."""
    return dict(CoseKey.for_alg(algorithm).from_cryptography_key(key.public_key()))
