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
    r_s = _from_raw(signature) if algorithm == _RAW else _from_der(signature)
    if r_s is None:
        raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "the signature is not encoded as its algorithm says")
    try:
        key.verify(encode_dss_signature(*r_s), data, _ECDSA_SHA256)
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


def _from_raw(signature: bytes) -> tuple[int, int] | None:
    if len(signature) != 64:
        return None
    return int.from_bytes(signature[:32]), int.from_bytes(signature[32:])


def _from_der(signature: bytes) -> tuple[int, int] | None:
    """Read SEQUENCE {r, s} taking both as unsigned: devices exist that leave out the leading 00 (digest 3.5)."""
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
    return (numbers[0], numbers[1]) if offset == len(signature) else None
