"""Which signature algorithms are taken, and what each demands of its key (UAF registry 3.6.1; digest sections 1.2, 9).

An allow-list. SM2 has no library here; PKCS#1 over SHA-1 (0xF) is left out on purpose.
"""

import hashlib
from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

UafPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096
MAX_RSA_EXPONENT = 0xFFFFFFFF


class Scheme(Enum):
    """What kind of signature it is."""

    ECDSA = auto()
    RSASSA_PSS = auto()
    RSASSA_PKCS1 = auto()
    EDDSA = auto()


class SignatureAlgorithm(NamedTuple):
    """One row: `curve` is cryptography's class of it (None for RSA), `cose` the COSE algorithms of such a key.

    `der` tells whether the signature is wrapped in DER: SEQUENCE {r, s}, or OCTET STRING around an RSA signature.
    """

    scheme: Scheme
    hash: hashes.HashAlgorithm
    curve: type[ec.EllipticCurve] | type[ed25519.Ed25519PublicKey] | type[ed448.Ed448PublicKey] | None
    der: bool
    cose: frozenset[int]


# The algorithm to assume where a caller has only one: plain, since an IntEnum's hash runs in Python.
ES256 = int(Algorithm.SECP256R1_ECDSA_SHA256_RAW)

_ES256 = frozenset({-7, -9})
_ES256K = frozenset({-47})
_PS256 = frozenset({-37})
_RS256 = frozenset({-257})
_SHA256, _SHA384, _SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()

ALGORITHMS: Mapping[int, SignatureAlgorithm] = MappingProxyType(
    {
        int(algorithm): SignatureAlgorithm(*row)
        for algorithm, row in {
            Algorithm.SECP256R1_ECDSA_SHA256_RAW: (Scheme.ECDSA, _SHA256, ec.SECP256R1, False, _ES256),
            Algorithm.SECP256R1_ECDSA_SHA256_DER: (Scheme.ECDSA, _SHA256, ec.SECP256R1, True, _ES256),
            Algorithm.RSASSA_PSS_SHA256_RAW: (Scheme.RSASSA_PSS, _SHA256, None, False, _PS256),
            Algorithm.RSASSA_PSS_SHA256_DER: (Scheme.RSASSA_PSS, _SHA256, None, True, _PS256),
            Algorithm.SECP256K1_ECDSA_SHA256_RAW: (Scheme.ECDSA, _SHA256, ec.SECP256K1, False, _ES256K),
            Algorithm.SECP256K1_ECDSA_SHA256_DER: (Scheme.ECDSA, _SHA256, ec.SECP256K1, True, _ES256K),
            Algorithm.RSA_EMSA_PKCS1_SHA256_RAW: (Scheme.RSASSA_PKCS1, _SHA256, None, False, _RS256),
            Algorithm.RSA_EMSA_PKCS1_SHA256_DER: (Scheme.RSASSA_PKCS1, _SHA256, None, True, _RS256),
            Algorithm.RSASSA_PSS_SHA384_RAW: (Scheme.RSASSA_PSS, _SHA384, None, False, frozenset({-38})),
            Algorithm.RSASSA_PSS_SHA512_RAW: (Scheme.RSASSA_PSS, _SHA512, None, False, frozenset({-39})),
            Algorithm.RSASSA_PKCSV15_SHA256_RAW: (Scheme.RSASSA_PKCS1, _SHA256, None, False, _RS256),
            Algorithm.RSASSA_PKCSV15_SHA384_RAW: (Scheme.RSASSA_PKCS1, _SHA384, None, False, frozenset({-258})),
            Algorithm.RSASSA_PKCSV15_SHA512_RAW: (Scheme.RSASSA_PKCS1, _SHA512, None, False, frozenset({-259})),
            Algorithm.SECP384R1_ECDSA_SHA384_RAW: (
                *(Scheme.ECDSA, _SHA384, ec.SECP384R1, False),
                frozenset({-35, -51}),
            ),
            Algorithm.SECP521R1_ECDSA_SHA512_RAW: (
                *(Scheme.ECDSA, _SHA512, ec.SECP521R1, False),
                frozenset({-36, -52}),
            ),
            Algorithm.ED25519_EDDSA_SHA512_RAW: (
                *(Scheme.EDDSA, _SHA512, ed25519.Ed25519PublicKey, False),
                frozenset({-8, -19}),
            ),
            Algorithm.ED448_EDDSA_SHA512_RAW: (
                *(Scheme.EDDSA, _SHA512, ed448.Ed448PublicKey, False),
                frozenset({-8, -53}),
            ),
        }.items()
    }
)


def signature_algorithm(algorithm: int) -> SignatureAlgorithm:
    """Return the row of ALG_SIGN `algorithm`.

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where it is not on the list.
    """
    row = ALGORITHMS.get(algorithm)
    if row is None:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, f"signature algorithm {algorithm} is not supported")
    return row


def misfit(row: SignatureAlgorithm, key: object) -> str | None:
    """Return why `key` is no key for the algorithm: its kind, its curve or its size; None where it fits."""
    if row.scheme is Scheme.ECDSA:
        curve = key.curve if isinstance(key, ec.EllipticCurvePublicKey) else None
        return None if curve is not None and type(curve) is row.curve else "the algorithm's curve is not the key's"
    if row.scheme is Scheme.EDDSA:
        assert row.curve is not None
        return None if isinstance(key, row.curve) else "the algorithm's curve is not the key's"
    if not isinstance(key, rsa.RSAPublicKey):
        return "the algorithm is of RSA, the key is not"
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return f"an RSA key of {key.key_size} bits"
    return "the RSA key's exponent is too large" if key.public_numbers().e > MAX_RSA_EXPONENT else None


def digest(algorithm: int, data: bytes) -> bytes:
    """Return `data` hashed by the hash that belongs to ALG_SIGN `algorithm` (FCHash and TCHash; digest 1.2).

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where it is not on the list.
    """
    if algorithm in _SHA256_ALGORITHMS:
        return hashlib.sha256(data).digest()
    return hashlib.new(signature_algorithm(algorithm).hash.name, data).digest()


_SHA256_ALGORITHMS = frozenset(algorithm for algorithm, row in ALGORITHMS.items() if row.hash is _SHA256)
