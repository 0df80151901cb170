"""A key and a signature of every algorithm, encoded by hand, so that what is tested does not test itself."""

import hashlib
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .builders import p256, rsa2048, spki

SHA256, SHA384, SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()

# By ALG_SIGN: kind of key, hash, whether DER is around it (UAF registry 3.6.1).
ECDSA = {
    0x01: (ec.SECP256R1, SHA256, False),
    0x02: (ec.SECP256R1, SHA256, True),
    0x05: (ec.SECP256K1, SHA256, False),
    0x06: (ec.SECP256K1, SHA256, True),
    0x10: (ec.SECP384R1, SHA384, False),
    0x11: (ec.SECP521R1, SHA512, False),
}
PSS = {0x03: (SHA256, False), 0x04: (SHA256, True), 0x0A: (SHA384, False), 0x0B: (SHA512, False)}
PKCS1 = {
    0x08: (SHA256, False),
    0x09: (SHA256, True),
    0x0C: (SHA256, False),
    0x0D: (SHA384, False),
    0x0E: (SHA512, False),
}
ED25519, ED448 = 0x12, 0x13
ALL = (*ECDSA, *PSS, *PKCS1, ED25519, ED448)
RSA = (*PSS, *PKCS1)
HASHES = {
    **dict.fromkeys(ALL, "sha256"),
    **dict.fromkeys((0x0A, 0x0D, 0x10), "sha384"),
    **dict.fromkeys((0x0B, 0x0E, 0x11, 0x12, 0x13), "sha512"),
}


@cache
def key_of(algorithm: int, number: int = 0) -> Any:  # noqa: ANN401 - a private key of the algorithm's kind
    """Returns the same key for the same algorithm and number."""
    seed = hashlib.sha512(b"key %d" % number).digest()
    if algorithm in ECDSA:
        curve = ECDSA[algorithm][0]
        return p256(number) if curve is ec.SECP256R1 else ec.derive_private_key(int.from_bytes(seed[:31]), curve())
    if algorithm == ED25519:
        return ed25519.Ed25519PrivateKey.from_private_bytes(seed[:32])
    if algorithm == ED448:
        return ed448.Ed448PrivateKey.from_private_bytes(seed[:57])
    return rsa2048() if number == 0 else other_rsa(2048)


@cache
def other_rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def octets(value: bytes) -> bytes:
    """Returns a DER OCTET STRING of 256 bytes or more."""
    return b"\x04\x82" + len(value).to_bytes(2) + value


def sign(algorithm: int, key: Any, data: bytes) -> bytes:  # noqa: ANN401 - any private key
    if algorithm in ECDSA:
        _, digest, der = ECDSA[algorithm]
        found: bytes = key.sign(data, ec.ECDSA(digest))
        if der:
            return found
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(found)
        return r.to_bytes(size) + s.to_bytes(size)
    if algorithm in RSA:
        digest, der = (PSS.get(algorithm) or PKCS1.get(algorithm)) or (SHA256, False)
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if algorithm in PSS:
            scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
        bare: bytes = key.sign(data, scheme, digest)
        return octets(bare) if der else bare
    return bytes(key.sign(data))


def uncompressed(key: Any) -> bytes:  # noqa: ANN401 - any EC private key
    return bytes(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def rsa_raw(key: rsa.RSAPrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.n.to_bytes(256) + numbers.e.to_bytes(3)


def pkcs1(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)


# CBOR by hand: heads of the major types with lengths below 24, of one byte and of two.
def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    return bytes([major << 5 | 24, number]) if number < 256 else bytes([major << 5 | 25]) + number.to_bytes(2)


def cbor_int(number: int) -> bytes:
    return head(0, number) if number >= 0 else head(1, -1 - number)


def cbor_bytes(value: bytes) -> bytes:
    return head(2, len(value)) + value


def cbor_map(*pairs: tuple[int, bytes]) -> bytes:
    return head(5, len(pairs)) + b"".join(cbor_int(label) + value for label, value in pairs)


COSE_ALGORITHMS = {
    **dict.fromkeys((0x01, 0x02), -7),
    **dict.fromkeys((0x05, 0x06), -47),
    **dict.fromkeys((0x03, 0x04), -37),
    **dict.fromkeys((0x08, 0x09, 0x0C), -257),
    **{0x0A: -38, 0x0B: -39, 0x0D: -258, 0x0E: -259, 0x10: -35, 0x11: -36, 0x12: -8, 0x13: -8},
}
CURVES = {"secp256r1": 1, "secp384r1": 2, "secp521r1": 3, "secp256k1": 8}


def cose(algorithm: int, key: Any, alg: int | None = None) -> bytes:  # noqa: ANN401 - any private key
    """Returns the COSE_Key of `key`, members in canonical order."""
    named = cbor_int(COSE_ALGORITHMS[algorithm] if alg is None else alg)
    if algorithm in ECDSA:
        point = uncompressed(key)[1:]
        x, y = point[: len(point) // 2], point[len(point) // 2 :]
        curve = cbor_int(CURVES[key.curve.name])
        return cbor_map((1, cbor_int(2)), (3, named), (-1, curve), (-2, cbor_bytes(x)), (-3, cbor_bytes(y)))
    if algorithm in RSA:
        n, e = rsa_raw(key)[:256], rsa_raw(key)[256:]
        return cbor_map((1, cbor_int(3)), (3, named), (-1, cbor_bytes(n)), (-2, cbor_bytes(e)))
    x = key.public_key().public_bytes_raw()
    curve = cbor_int(6 if algorithm == ED25519 else 7)
    return cbor_map((1, cbor_int(1)), (3, named), (-1, curve), (-2, cbor_bytes(x)))


def keys_of(algorithm: int) -> dict[int, bytes]:
    """Returns the algorithm's key in every format that holds it, by ALG_KEY."""
    key = key_of(algorithm)
    found = {0x104: cose(algorithm, key)}
    if algorithm in ECDSA:
        found |= {0x100: uncompressed(key), 0x101: spki(key)}
    if algorithm in RSA:
        found |= {0x102: rsa_raw(key), 0x103: pkcs1(key)}
    return found


ALGORITHM_AND_FORMAT = [(algorithm, key_format) for algorithm in ALL for key_format in keys_of(algorithm)]


def integer_of(signature: bytes) -> tuple[bytes, bytes]:
    """Returns r and s of a DER signature on a curve of 256 bits, 32 bytes each."""
    r, s = decode_dss_signature(signature)
    return r.to_bytes(32), s.to_bytes(32)
