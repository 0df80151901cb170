"""Public keys in the formats of ALG_KEY (UAF registry 3.6.2; digest section 9)."""

from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from fidoloop.protocol.uaf.registry import PublicKeyFormat
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

UafPublicKey = ec.EllipticCurvePublicKey


@lru_cache(maxsize=4096)
def load_public_key(key_format: int, data: bytes) -> UafPublicKey:
    """Return the key in `data`; keys are kept, since building one costs a third of a verification.

    Raises:
        UafRefusal: UNACCEPTABLE_KEY where the format is not supported or the bytes are no key of that format.
    """
    try:
        if key_format == PublicKeyFormat.ECC_X962_RAW:
            if len(data) != 65 or data[0] != 4:
                raise ValueError("not an uncompressed point of 65 bytes")
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
        if key_format == PublicKeyFormat.ECC_X962_DER:
            key = load_der_public_key(data)
            if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
                return key
            raise ValueError("not a P-256 key")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UafRefusal(StatusCode.UNACCEPTABLE_KEY, f"public key: {error}") from None
    raise UafRefusal(StatusCode.UNACCEPTABLE_KEY, f"public key format 0x{key_format:X} is not supported")


def encode_public_key(key_format: PublicKeyFormat, key: UafPublicKey) -> bytes:
    """Return `key` in `key_format` (ECC_X962_RAW or ECC_X962_DER).

    Raises:
        ValueError: the format does not hold this kind of key.
    """
    if key_format == PublicKeyFormat.ECC_X962_RAW:
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if key_format == PublicKeyFormat.ECC_X962_DER:
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raise ValueError(f"{key_format.name} does not hold an EC key")
