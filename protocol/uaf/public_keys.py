"""Public keys in the formats of ALG_KEY (UAF registry 3.6.2; digest section 9)."""

from collections.abc import Callable, Mapping
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fidoloop.protocol.uaf.algorithms import Scheme, SignatureAlgorithm, UafPublicKey, misfit, signature_algorithm
from fidoloop.protocol.uaf.cose_keys import encode_cose_key, load_cose_key
from fidoloop.protocol.uaf.registry import PublicKeyFormat
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

_RSA_2048_BYTES = 256


@lru_cache(maxsize=4096)
def load_public_key(algorithm: int, key_format: int, data: bytes) -> UafPublicKey:
    """Return the key in `data`, whose signatures are of ALG_SIGN `algorithm`, which alone tells curves of one size.

    Keys are kept, since building one costs a third of a verification.

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where the algorithm is not on the list; UNACCEPTABLE_KEY where the
            format is not, does not hold such a key, or the bytes are no key of that format.
    """
    row = signature_algorithm(algorithm)
    load = _LOADERS.get(key_format)
    if load is None:
        raise UafRefusal(StatusCode.UNACCEPTABLE_KEY, f"public key format 0x{key_format:X} is not supported")
    try:
        key = load(data, row)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UafRefusal(StatusCode.UNACCEPTABLE_KEY, f"public key: {error}") from None
    wrong = misfit(row, key)
    if wrong is not None:
        raise UafRefusal(StatusCode.UNACCEPTABLE_KEY, f"public key: {wrong}")
    return key


def holds(key_format: int, row: SignatureAlgorithm) -> bool:
    """Tell whether keys of an algorithm can be written in `key_format`."""
    if key_format == PublicKeyFormat.COSE:
        return True
    return key_format in _FORMATS_OF_SCHEME.get(row.scheme, _RSA_FORMATS)


def encode_public_key(key_format: PublicKeyFormat, key: UafPublicKey, algorithm: int | None = None) -> bytes:
    """Return `key` in `key_format`; COSE needs to know the `algorithm` of its signatures.

    Raises:
        ValueError: the format does not hold this kind of key.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key_format == PublicKeyFormat.ECC_X962_RAW:
            return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        if key_format == PublicKeyFormat.ECC_X962_DER:
            return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == 8 * _RSA_2048_BYTES:
        if key_format == PublicKeyFormat.RSA_2048_RAW:
            numbers = key.public_numbers()
            exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)
            return numbers.n.to_bytes(_RSA_2048_BYTES) + exponent
        if key_format == PublicKeyFormat.RSA_2048_DER:
            return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if key_format == PublicKeyFormat.COSE and algorithm is not None:
        row = signature_algorithm(algorithm)
        if misfit(row, key) is None:
            return encode_cose_key(key, row)
    raise ValueError(f"{key_format.name} does not hold this kind of key")


def _ecc_x962_raw(data: bytes, row: SignatureAlgorithm) -> UafPublicKey:
    """04 | x | y (the compressed forms of X9.62 are not among the format)."""
    curve = _elliptic_curve(row)
    size = 1 + 2 * ((curve.key_size + 7) // 8)
    if len(data) != size or data[0] != 4:
        raise ValueError(f"not an uncompressed point of {size} bytes")
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, data)


def _ecc_x962_der(data: bytes, row: SignatureAlgorithm) -> UafPublicKey:
    """SubjectPublicKeyInfo with a named curve and an uncompressed point."""
    _elliptic_curve(row)
    key = load_der_public_key(data)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("not an elliptic curve key")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != data:
        raise ValueError("not a named curve with an uncompressed point")
    return key


def _rsa_2048_raw(data: bytes, _: SignatureAlgorithm) -> UafPublicKey:
    """n of 256 bytes, then e."""
    if not _RSA_2048_BYTES < len(data) <= _RSA_2048_BYTES + 8:
        raise ValueError(f"{len(data)} bytes do not hold a modulus of 256 and an exponent")
    n, e = data[:_RSA_2048_BYTES], data[_RSA_2048_BYTES:]
    return _of_2048_bits(rsa.RSAPublicNumbers(int.from_bytes(e), int.from_bytes(n)).public_key())


def _rsa_2048_der(data: bytes, _: SignatureAlgorithm) -> UafPublicKey:
    """SEQUENCE {n, e}; devices exist that put a SubjectPublicKeyInfo there, and cryptography reads both."""
    key = load_der_public_key(data)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return _of_2048_bits(key)


def _of_2048_bits(key: rsa.RSAPublicKey) -> rsa.RSAPublicKey:
    if key.key_size != 8 * _RSA_2048_BYTES:
        raise ValueError(f"an RSA key of {key.key_size} bits, 2048 expected")
    return key


def _elliptic_curve(row: SignatureAlgorithm) -> ec.EllipticCurve:
    if row.curve is None or not issubclass(row.curve, ec.EllipticCurve):
        raise ValueError("the format holds no key of this algorithm")
    return row.curve()


_LOADERS: Mapping[int, Callable[[bytes, SignatureAlgorithm], UafPublicKey]] = {
    int(PublicKeyFormat.ECC_X962_RAW): _ecc_x962_raw,
    int(PublicKeyFormat.ECC_X962_DER): _ecc_x962_der,
    int(PublicKeyFormat.RSA_2048_RAW): _rsa_2048_raw,
    int(PublicKeyFormat.RSA_2048_DER): _rsa_2048_der,
    int(PublicKeyFormat.COSE): load_cose_key,
}
_RSA_FORMATS = frozenset({int(PublicKeyFormat.RSA_2048_RAW), int(PublicKeyFormat.RSA_2048_DER)})
_FORMATS_OF_SCHEME: Mapping[Scheme, frozenset[int]] = {
    Scheme.ECDSA: frozenset({int(PublicKeyFormat.ECC_X962_RAW), int(PublicKeyFormat.ECC_X962_DER)}),
    Scheme.EDDSA: frozenset(),
}
