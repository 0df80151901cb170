"""Signing as ALG_SIGN says with a key in hardware (UAF registry 3.6.1)."""

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import padding

from fidoloop.hsm.keystore import EcHardwareKey, HardwareKey, RsaHardwareKey
from fidoloop.protocol.uaf.algorithms import ALGORITHMS, Scheme, SignatureAlgorithm, misfit
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.signatures import encode_signature

Sign = Callable[[bytes], bytes]
"""Returns the signature over a message; raises KeyStoreError."""


def signer(key: HardwareKey, algorithm: Algorithm) -> Sign:
    """Return how `key` signs under `algorithm`, with everything looked up that does not depend on the message.

    Raises:
        ValueError: the algorithm is not of such a key, or not supported.
    """
    row = ALGORITHMS.get(int(algorithm))
    if row is None:
        raise ValueError(f"{algorithm.name} is not supported")
    wrong = misfit(row, key.public_key())
    if wrong is not None:
        raise ValueError(f"{algorithm.name}: {wrong}")
    if isinstance(key, EcHardwareKey):
        plain = _ecdsa(key, row)
    else:
        plain = _rsa(key, row) if isinstance(key, RsaHardwareKey) else key.sign
    return (lambda data: encode_signature(algorithm, plain(data))) if row.der else plain


def _ecdsa(key: EcHardwareKey, row: SignatureAlgorithm) -> Sign:
    sign, hashed = key.sign_digest_raw, _HASHES[row.hash.name]
    size = key.key_size // 8
    if row.hash.digest_size == size:
        return lambda data: sign(hashed(data).digest())
    # On P-521 the hash is shorter than the order: the same number with zeros before it (FIPS 186-5 6.4.1).
    return lambda data: sign(hashed(data).digest().rjust(size, b"\0"))


def _rsa(key: RsaHardwareKey, row: SignatureAlgorithm) -> Sign:
    if row.scheme is Scheme.RSASSA_PKCS1:
        return lambda data: key.sign(data, padding.PKCS1v15(), row.hash)
    scheme = padding.PSS(padding.MGF1(row.hash), row.hash.digest_size)
    return lambda data: key.sign(data, scheme, row.hash)


_HASHES = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
