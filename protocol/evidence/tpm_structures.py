"""TPM 2.0 structures of an attested key, read strictly (TPM 2.0 Library, Part 2; sections of revision 1.59)."""

import hashlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import PublicKey

TPM_GENERATED = 0xFF544347
ATTEST_CERTIFY = 0x8017
_MAX_BUFFER = 1024


class Alg(IntEnum):
    """TPM_ALG_ID (6.3), as far as a key for this program can have them."""

    RSA = 0x0001
    AES = 0x0006
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    NULL = 0x0010
    RSASSA = 0x0014
    RSAES = 0x0015
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018
    ECDH = 0x0019
    ECC = 0x0023


HASHES = {Alg.SHA256: hashlib.sha256, Alg.SHA384: hashlib.sha384, Alg.SHA512: hashlib.sha512}
_WITH_HASH = (Alg.RSASSA, Alg.RSAPSS, Alg.OAEP, Alg.ECDSA, Alg.ECDH)
_CURVES: dict[int, type[ec.EllipticCurve]] = {0x0003: ec.SECP256R1, 0x0004: ec.SECP384R1}


class ObjectAttributes(IntFlag):
    """TPMA_OBJECT (8.3); every other bit is reserved and must be clear."""

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    NO_DA = 1 << 10
    ENCRYPTED_DUPLICATION = 1 << 11
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN_ENCRYPT = 1 << 18
    X509_SIGN = 1 << 19


@dataclass(frozen=True)
class TpmPublic:
    """TPMT_PUBLIC (12.2.4) of an asymmetric key, with its bytes."""

    raw: bytes
    name_algorithm: Alg
    attributes: ObjectAttributes
    key: PublicKey

    @property
    def name(self) -> bytes:
        """The Name (Part 1, 16): the algorithm and the hash of the whole public area, attributes included."""
        return self._named(self.raw)

    def qualified_name(self, parent: bytes) -> bytes:
        """The Qualified Name under that of its parent, a hierarchy's being its handle (Part 1, 26.5)."""
        return self._named(parent + self.name)

    def _named(self, data: bytes) -> bytes:
        return self.name_algorithm.to_bytes(2) + HASHES[self.name_algorithm](data).digest()


@dataclass(frozen=True)
class CertifyInfo:
    """TPMS_ATTEST (10.12.12) of TPM2_Certify, with its bytes."""

    raw: bytes
    qualified_signer: bytes
    extra_data: bytes
    reset_count: int
    restart_count: int
    firmware_version: int
    name: bytes


@dataclass(frozen=True)
class TpmSignature:
    """TPMT_SIGNATURE (11.3.4): ECDSA in DER, or RSA."""

    algorithm: Alg
    hash_algorithm: Alg
    value: bytes


class Reader:
    """Reads big-endian fields one after another; nothing may be left at the end."""

    def __init__(self, data: bytes, where: str) -> None:
        """Start at the beginning of `data`; `where` names it in errors."""
        self._data, self._where, self._at = data, where, 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises MalformedError where there are fewer."""
        if self._at + size > len(self._data):
            raise MalformedError(self._where, "is cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """Return the next number of `size` bytes."""
        return int.from_bytes(self.take(size))

    def buffer(self) -> bytes:
        """Return the content of a TPM2B: two bytes of length, then so many."""
        size = self.number(2)
        if size > _MAX_BUFFER:
            raise MalformedError(self._where, f"holds a buffer of {size} bytes")
        return self.take(size)

    def algorithm(self, *allowed: Alg) -> Alg:
        """Return the next TPM_ALG_ID, one of `allowed`."""
        found = self.number(2)
        if found not in allowed:
            raise MalformedError(self._where, f"algorithm 0x{found:04x} has no place there")
        return Alg(found)

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._data) - self._at)

    def end(self) -> None:
        """Refuse what is left."""
        if self._at != len(self._data):
            raise MalformedError(self._where, f"{len(self._data) - self._at} bytes too many")


def parse_public(raw: bytes, where: str = "TPMT_PUBLIC") -> TpmPublic:
    """Return the public area of an RSA or EC key.

    Raises:
        MalformedError: cut, too long, another kind of key, reserved attributes, or no such key.
    """
    reader = Reader(raw, where)
    kind = reader.algorithm(Alg.RSA, Alg.ECC)
    name_algorithm = reader.algorithm(*HASHES)
    attributes = reader.number(4)
    if attributes & ~sum(ObjectAttributes):
        raise MalformedError(where, "reserved attributes are set")
    reader.buffer()  # authPolicy
    if reader.algorithm(Alg.NULL, Alg.AES) is Alg.AES:  # symmetric, of a key that wraps others
        reader.take(4)
    key = _rsa_key(reader, where) if kind is Alg.RSA else _ec_key(reader, where)
    reader.end()
    return TpmPublic(raw, name_algorithm, ObjectAttributes(attributes), key)


def parse_certify_info(raw: bytes, where: str = "TPMS_ATTEST") -> CertifyInfo:
    """Return what TPM2_Certify attested.

    Raises:
        MalformedError: not generated by a TPM (magic), another type, cut, or too long.
    """
    reader = Reader(raw, where)
    if reader.number(4) != TPM_GENERATED:
        raise MalformedError(where, "has not the magic of what a TPM generates")
    if reader.number(2) != ATTEST_CERTIFY:
        raise MalformedError(where, "attests something else than a key (TPM_ST_ATTEST_CERTIFY)")
    qualified_signer, extra_data = reader.buffer(), reader.buffer()
    reader.take(8)  # clock
    reset_count, restart_count = reader.number(4), reader.number(4)
    if reader.number(1) > 1:
        raise MalformedError(where, "clock's safe is neither YES nor NO")
    firmware = reader.number(8)
    name = reader.buffer()
    reader.buffer()  # qualifiedName
    reader.end()
    return CertifyInfo(raw, qualified_signer, extra_data, reset_count, restart_count, firmware, name)


def parse_signature(raw: bytes, where: str = "TPMT_SIGNATURE") -> TpmSignature:
    """Return an ECDSA, RSASSA or RSAPSS signature.

    Raises:
        MalformedError: another algorithm, cut, or too long.
    """
    reader = Reader(raw, where)
    algorithm = reader.algorithm(Alg.ECDSA, Alg.RSASSA, Alg.RSAPSS)
    hash_algorithm = reader.algorithm(*HASHES)
    value = reader.buffer()
    if algorithm is Alg.ECDSA:
        value = encode_dss_signature(int.from_bytes(value), int.from_bytes(reader.buffer()))
    reader.end()
    return TpmSignature(algorithm, hash_algorithm, value)


def _scheme(reader: Reader, *allowed: Alg) -> None:
    if reader.algorithm(Alg.NULL, *allowed) in _WITH_HASH:
        reader.algorithm(*HASHES)


def _rsa_key(reader: Reader, where: str) -> PublicKey:
    _scheme(reader, Alg.RSASSA, Alg.RSAPSS, Alg.RSAES, Alg.OAEP)
    bits = reader.number(2)
    exponent = reader.number(4) or 65537  # Part 2, 12.2.3.5: zero means the default
    modulus = int.from_bytes(reader.buffer())
    if modulus.bit_length() != bits:
        raise MalformedError(where, "the modulus has not the bits it should have")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise MalformedError(where, "not an RSA public key") from None


def _ec_key(reader: Reader, where: str) -> PublicKey:
    _scheme(reader, Alg.ECDSA, Alg.ECDH)
    curve = _CURVES.get(reader.number(2))
    if curve is None:
        raise MalformedError(where, "the curve is neither P-256 nor P-384")
    reader.algorithm(Alg.NULL)  # kdf
    x, y = (int.from_bytes(reader.buffer()) for _ in range(2))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
    except ValueError:
        raise MalformedError(where, "not a point of the curve") from None
