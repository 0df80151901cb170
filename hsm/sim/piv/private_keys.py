"""The arithmetic of a PIV card's private keys: making, importing, using them."""

import functools
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from fidoloop.hsm.piv.tlv import encode
from fidoloop.hsm.sim.apdu import ApduError, StatusWord
from fidoloop.hsm.sim.piv.registry import Algorithm

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

CURVES: Final[Mapping[int, ec.EllipticCurve]] = {Algorithm.P256: ec.SECP256R1(), Algorithm.P384: ec.SECP384R1()}
_EXPONENT = 65537
_HASHES: Final[Mapping[int, hashes.HashAlgorithm]] = {Algorithm.P256: hashes.SHA256(), Algorithm.P384: hashes.SHA384()}


def generate(algorithm: int) -> PrivateKey:
    """Make a key of this algorithm. Raises ApduError 6A80 for one the card has not."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm == Algorithm.RSA2048:
        return rsa.generate_private_key(_EXPONENT, 2048)
    raise ApduError(StatusWord.INCORRECT_DATA)


def from_components(algorithm: int, components: Mapping[int, bytes]) -> PrivateKey:
    """Build an imported key: EC of 06, the scalar; RSA of 01 to 05: p, q, d mod p-1, d mod q-1, 1/q mod p (Yubico).

    Raises:
        ApduError: 6A80, components are missing or make no such key; 6A86, an algorithm the card has not.
    """
    numbers = {tag: int.from_bytes(value) for tag, value in components.items()}
    try:
        if algorithm in CURVES and set(numbers) == {6}:
            return ec.derive_private_key(numbers[6], CURVES[algorithm])
        if algorithm == Algorithm.RSA2048 and set(numbers) == {1, 2, 3, 4, 5}:
            return _rsa_key(*(numbers[tag] for tag in range(1, 6)))
    except ValueError:
        raise ApduError(StatusWord.INCORRECT_DATA) from None
    if algorithm in CURVES or algorithm == Algorithm.RSA2048:
        raise ApduError(StatusWord.INCORRECT_DATA)
    raise ApduError(StatusWord.INCORRECT_P1_P2)


def to_pkcs8(key: PrivateKey) -> bytes:
    """Return the key as PKCS #8, DER, for the card's state."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@functools.lru_cache(maxsize=64)
def from_pkcs8(der: bytes) -> PrivateKey:
    """Return the key `to_pkcs8` wrote; parsing one costs more than using it, so the last ones are kept."""
    key = load_der_private_key(der, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return key


def public_objects(key: PublicKey) -> bytes:
    """Return the public key (SP 800-73-4 part 2, table 11): 86 a point, or 81 modulus and 82 exponent."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return encode(0x86, key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    numbers = key.public_numbers()
    exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)
    return encode(0x81, numbers.n.to_bytes((key.key_size + 7) // 8)) + encode(0x82, exponent)


def respond(key: PrivateKey, challenge: bytes) -> bytes:
    """Sign a digest (ECDSA, DER; shorter ones count as if zeros stood before them) or raise a whole RSA block to d.

    Raises:
        ApduError: 6A80, the challenge is empty, longer than the curve's order, or no number below the modulus.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        return _rsa_raw(key, challenge)
    size = (key.curve.key_size + 7) // 8
    if not 1 <= len(challenge) <= size:
        raise ApduError(StatusWord.INCORRECT_DATA)
    hash_algorithm = hashes.SHA256() if size == 32 else hashes.SHA384()
    return key.sign(challenge.rjust(size, b"\0"), ec.ECDSA(Prehashed(hash_algorithm)))


def agree(key: PrivateKey, point: bytes) -> bytes:
    """Return the x coordinate of ECDH with the other side's point, 04 || x || y. Raises ApduError 6A80."""
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ApduError(StatusWord.INCORRECT_DATA)
    try:
        return key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point))
    except ValueError:
        raise ApduError(StatusWord.INCORRECT_DATA) from None


def _rsa_raw(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    numbers = key.private_numbers()
    size = (key.key_size + 7) // 8
    value = int.from_bytes(block)
    if len(block) != size or value >= numbers.public_numbers.n:
        raise ApduError(StatusWord.INCORRECT_DATA)
    by_p, by_q = pow(value, numbers.dmp1, numbers.p), pow(value, numbers.dmq1, numbers.q)
    result: int = by_q + numbers.q * ((by_p - by_q) * numbers.iqmp % numbers.p)
    return result.to_bytes(size)


def _rsa_key(p: int, q: int, dmp1: int, dmq1: int, iqmp: int) -> rsa.RSAPrivateKey:
    if min(p, q) < 2 or (p * q).bit_length() != 2048:
        raise ValueError("not two primes of an RSA-2048 key")
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(_EXPONENT, p * q)).private_key()
