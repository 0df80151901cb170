"""Signatures in the encodings of ALG_SIGN (UAF registry 3.6.1; digest sections 3.5 and 9)."""

from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fidoloop.protocol.uaf.algorithms import ALGORITHMS, Scheme, SignatureAlgorithm, misfit
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

# An allow-list: what is not here is refused before any mathematics.
SUPPORTED: frozenset[int] = frozenset(ALGORITHMS)


def verify_signature(key: object, algorithm: int, signature: bytes, data: bytes) -> None:
    """Verify `signature` over `data` with `key`, any of cryptography's public keys, under ALG_SIGN `algorithm`.

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where it is not supported or does not fit the key;
            UNACCEPTABLE_CONTENT where the signature does not verify.
    """
    verify = _VERIFIERS.get(algorithm)
    if verify is None:
        raise UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, f"signature algorithm {algorithm} is not supported")
    try:
        verify(key, signature, data)
    except InvalidSignature:
        raise _does_not_verify() from None


def encode_signature(algorithm: Algorithm, raw: bytes) -> bytes:
    """Return the signature `raw` (r‖s of an ECDSA curve, or what RSA or EdDSA gives) as `algorithm` wants it.

    Raises:
        ValueError: the algorithm is not supported.
    """
    row = ALGORITHMS.get(algorithm)
    if row is None:
        raise ValueError(f"{algorithm.name} is not supported")
    if not row.der:
        return raw
    if row.scheme is Scheme.ECDSA:
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
    return _octet_string_header(len(raw)) + raw


Verifier = Callable[[object, bytes, bytes], None]


def _verifier(row: SignatureAlgorithm) -> Verifier:
    if row.scheme is Scheme.ECDSA:
        return _ecdsa(row)
    return _eddsa(row) if row.scheme is Scheme.EDDSA else _rsa(row)


def _ecdsa(row: SignatureAlgorithm) -> Verifier:
    curve, scheme = row.curve, ec.ECDSA(row.hash)
    assert curve is not None
    assert issubclass(curve, ec.EllipticCurve)
    size = (curve().key_size + 7) // 8
    as_der = _der_of_der if row.der else _der_of_64_bytes if size == 32 else _der_of_raw(size)

    def verify(key: object, signature: bytes, data: bytes) -> None:
        # The class is compared first: isinstance of an abstract class costs as much as reading the signature.
        if getattr(key, "curve", None).__class__ is not curve:
            raise _misfit("the algorithm's curve is not the key's")
        der = as_der(signature)
        if der is None:
            raise _not_encoded()
        key.verify(der, data, scheme)  # type: ignore[attr-defined]

    return verify


def _rsa(row: SignatureAlgorithm) -> Verifier:
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if row.scheme is Scheme.RSASSA_PSS:
        scheme = padding.PSS(padding.MGF1(row.hash), row.hash.digest_size)

    def verify(key: object, signature: bytes, data: bytes) -> None:
        wrong = misfit(row, key)
        if wrong is not None:
            raise _misfit(wrong)
        assert isinstance(key, rsa.RSAPublicKey)
        bare = _in_octet_string(signature) if row.der else signature
        if bare is None or len(bare) != (key.key_size + 7) // 8:
            raise _not_encoded()
        key.verify(bare, data, scheme, row.hash)

    return verify


def _eddsa(row: SignatureAlgorithm) -> Verifier:
    def verify(key: object, signature: bytes, data: bytes) -> None:
        wrong = misfit(row, key)
        if wrong is not None:
            raise _misfit(wrong)
        key.verify(signature, data)  # type: ignore[attr-defined]

    return verify


def _misfit(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_ALGORITHM, detail)


def _not_encoded() -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "the signature is not encoded as its algorithm says")


def _does_not_verify() -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "the signature does not verify")


# By the top bits of r and of s: what stands before r, and between r and s, in the DER of two 32-byte numbers.
_DER_PARTS = (
    (b"\x30\x44\x02\x20", b"\x02\x20"),
    (b"\x30\x45\x02\x20", b"\x02\x21\x00"),
    (b"\x30\x45\x02\x21\x00", b"\x02\x20"),
    (b"\x30\x46\x02\x21\x00", b"\x02\x21\x00"),
)


def _der_of_64_bytes(signature: bytes) -> bytes | None:
    """Return r‖s of a 256-bit curve as DER; None where it is not 64 bytes."""
    if len(signature) != 64:
        return None
    first_of_r, first_of_s = signature[0], signature[32]
    if first_of_r and first_of_s:
        before, between = _DER_PARTS[(first_of_r >> 7) << 1 | first_of_s >> 7]
        return before + signature[:32] + between + signature[32:]
    return encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))


def _der_of_raw(size: int) -> Callable[[bytes], bytes | None]:
    def as_der(signature: bytes) -> bytes | None:
        if len(signature) != 2 * size:
            return None
        return encode_dss_signature(int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))

    return as_der


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


def _octet_string_header(length: int) -> bytes:
    """Return the DER header of an OCTET STRING of 256 to 65,535 bytes, as every RSA signature taken here is."""
    return b"\x04\x82" + length.to_bytes(2)


def _in_octet_string(signature: bytes) -> bytes | None:
    """Return what a DER OCTET STRING holds; None where it is none, or not all of `signature`."""
    bare = signature[4:]
    return bare if len(bare) <= 0xFFFF and signature[:4] == _octet_string_header(len(bare)) else None


_VERIFIERS: Mapping[int, Verifier] = {algorithm: _verifier(row) for algorithm, row in ALGORITHMS.items()}
