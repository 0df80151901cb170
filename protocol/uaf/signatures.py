"""Signatures in the encodings of ALG_SIGN (UAF registry 3.6.1; digest sections 3.5 and 9)."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fidoloop.protocol.uaf.public_keys import UafPublicKey
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

# An allow-list: what is not here is refused before any mathematics.
SUPPORTED: frozenset[int] = frozenset(
    {int(Algorithm.SECP256R1_ECDSA_SHA256_RAW), int(Algorithm.SECP256R1_ECDSA_SHA256_DER)}
)
_RAW = int(Algorithm.SECP256R1_ECDSA_SHA256_RAW)
_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256())


def verify_signature(key: UafPublicKey, algorithm: int, signature: bytes, data: bytes) -> None:
    """Verify `signature` over `data` under ALG_SIGN `algorithm`.

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where it is not supported or does not fit the key;
            UNACCEPTABLE_CONTENT where the signature does not verify.
    """
    if algorithm not in SUPPORTED:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, f"signature algorithm {algorithm} is not supported")
    if not isinstance(key.curve, ec.SECP256R1):
        raise UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, "the algorithm's curve is not the key's")
    der = _der_of_raw(signature) if algorithm == _RAW else _der_of_der(signature)
    if der is None:
        raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "the signature is not encoded as its algorithm says")
    try:
        key.verify(der, data, _ECDSA_SHA256)
    except InvalidSignature:
        raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "the signature does not verify") from None


def encode_signature(algorithm: Algorithm, raw: bytes) -> bytes:
    """Return the ECDSA signature `raw` (r‖s, 64 bytes) as `algorithm` wants it.

    Raises:
        ValueError: the algorithm is not an ECDSA P-256 one.
    """
    if algorithm == Algorithm.SECP256R1_ECDSA_SHA256_RAW:
        return raw
    if algorithm == Algorithm.SECP256R1_ECDSA_SHA256_DER:
        return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    raise ValueError(f"{algorithm.name} is not ECDSA on P-256")


# By the top bits of r and of s: what stands before r, and between r and s, in the DER of two 32-byte numbers.
_DER_PARTS = (
    (b"\x30\x44\x02\x20", b"\x02\x20"),
    (b"\x30\x45\x02\x20", b"\x02\x21\x00"),
    (b"\x30\x45\x02\x21\x00", b"\x02\x20"),
    (b"\x30\x46\x02\x21\x00", b"\x02\x21\x00"),
)


def _der_of_raw(signature: bytes) -> bytes | None:
    """Return r‖s as DER; None where it is not 64 bytes."""
    if len(signature) != 64:
        return None
    first_of_r, first_of_s = signature[0], signature[32]
    if first_of_r and first_of_s:
        before, between = _DER_PARTS[(first_of_r >> 7) << 1 | first_of_s >> 7]
        return before + signature[:32] + between + signature[32:]
    return encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))


def _der_of_der(signature: bytes) -> bytes | None:
    """Return strict DER of a signature in DER or nearly so; None where it is neither.

    Both numbers of SEQUENCE {r, s} are read as unsigned: devices exist that leave out the leading 00 (digest 3.5).
    """
    if len(signature) < 8 or signature[0] != 0x30 or signature[1] != len(signature) - 2:
        return None
    numbers = []
    offset = 2
    for _ in range(2):
        if offset + 2 > len(signature) or signature[offset] != 0x02:
            return None
        start, length = offset + 2, signature[offset + 1]
        if not 1 <= length <= 33:
            return None
        offset = start + length
        numbers.append(int.from_bytes(signature[start:offset]))
    return encode_dss_signature(numbers[0], numbers[1]) if offset == len(signature) else None
