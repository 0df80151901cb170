"""What the values of an assertion's elements are made of, part by part (UAF authenticator commands 5.2)."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NamedTuple, Self

from fidoloop.protocol import base64url
from fidoloop.protocol.certificates import load_certificate
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.algorithms import ALGORITHMS, Scheme
from fidoloop.protocol.uaf.assertions import AAID_FORM, MAX_KEY_ID_BYTES, MIN_KEY_ID_BYTES, MIN_NONCE_BYTES
from fidoloop.protocol.uaf.registry import (
    Algorithm,
    AuthenticationMode,
    PublicKeyFormat,
    Tag,
    UserVerificationTag,
)
from fidoloop.protocol.uaf.tlv import HEADER

Value = str | int | None

MAX_USER_VERIFICATION_BYTES = 32
_INFO_BYTES = (5, 7)
_COUNTERS_BYTES = (4, 8)


class Part(NamedTuple):
    """Some bytes of a value."""

    length: int
    name: str
    value: Value
    problem: str = ""


class Dissected(NamedTuple):
    """A value as a whole, or as parts that fill it."""

    value: Value
    parts: tuple[Part, ...] = ()
    problem: str = ""


class Context(NamedTuple):
    """What ASSERTION_INFO says of the other values: 0 where there is none that can be read."""

    registration: bool
    algorithm: int
    key_format: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Return the context of an assertion: what its signed element's first ASSERTION_INFO says."""
        registration = data[:2] == int(Tag.UAFV1_REG_ASSERTION).to_bytes(2, "little")
        at, end = 2 * HEADER.size, min(len(data), 2 * HEADER.size + int.from_bytes(data[6:8], "little"))
        while at + HEADER.size <= end:
            tag, length = HEADER.unpack_from(data, at)
            at += HEADER.size + length
            value = data[at - length : min(at, end)]
            if tag == Tag.ASSERTION_INFO and len(value) == _INFO_BYTES[registration]:
                return cls(registration, int.from_bytes(value[3:5], "little"), int.from_bytes(value[5:7], "little"))
        return cls(registration, 0, 0)


def dissect_value(tag: int, value: bytes, context: Context) -> Dissected:
    """Return what the value of a plain element says; never raises, whatever the bytes."""
    if not value and tag not in _MAY_BE_EMPTY:
        return Dissected(None, problem="empty" if tag in _DISSECTORS else "")
    dissect = _DISSECTORS.get(tag)
    return dissect(value, context) if dissect else Dissected(value.hex())


def dissect_methods(value: bytes) -> Dissected:
    """Return the data of fido.uaf.uvm: user verification, key protection and matcher protection of each method."""
    size, (count, rest) = 8, divmod(len(value), 8)
    if rest or not 1 <= count <= 3:
        return Dissected(value.hex(), problem=f"{len(value)} bytes, 1 to 3 times {size} expected")
    parts: list[Part] = []
    for at in range(0, len(value), size):
        parts += [
            _number("userVerificationMethod", value[at : at + 4]),
            _number("keyProtection", value[at + 4 : at + 6]),
            _number("matcherProtection", value[at + 6 : at + 8]),
        ]
    return Dissected(None, tuple(parts))


def named(kind: type[IntEnum], number: int) -> str:
    """Return the registry's name of `number` beside the number, which alone is said where there is none."""
    shown = f"0x{number:X}" if number > 0xFF else str(number)
    return f"{shown} {kind(number).name}" if number in kind.__members__.values() else shown


def _number(name: str, value: bytes, kind: type[IntEnum] | None = None) -> Part:
    number = int.from_bytes(value, "little")
    return Part(len(value), name, number if kind is None else named(kind, number))


def _octets(name: str, value: bytes) -> Part:
    return Part(len(value), name, value.hex())


def _aaid(value: bytes, _: Context) -> Dissected:
    if AAID_FORM.fullmatch(value) is None:
        return Dissected(value.hex(), problem="not of the form HHHH#HHHH")
    return Dissected(value.decode("ascii"))


def _assertion_info(value: bytes, context: Context) -> Dissected:
    expected = _INFO_BYTES[context.registration]
    if len(value) != expected:
        return Dissected(value.hex(), problem=f"{len(value)} bytes, {expected} expected")
    parts = [
        _number("authenticatorVersion", value[:2]),
        _number("authenticationMode", value[2:3], AuthenticationMode),
        _number("signatureAlgAndEncoding", value[3:5], Algorithm),
    ]
    if context.registration:
        parts.append(_number("publicKeyAlgAndEncoding", value[5:], PublicKeyFormat))
    return Dissected(None, tuple(parts))


def _counters(value: bytes, context: Context) -> Dissected:
    expected = _COUNTERS_BYTES[context.registration]
    if len(value) != expected:
        return Dissected(value.hex(), problem=f"{len(value)} bytes, {expected} expected")
    parts = [_number("signCounter", value[:4])]
    if context.registration:
        parts.append(_number("registrationCounter", value[4:]))
    return Dissected(None, tuple(parts))


def _key_id(value: bytes, context: Context) -> Dissected:
    right = MIN_KEY_ID_BYTES <= len(value) <= MAX_KEY_ID_BYTES or not context.registration
    limits = f"{MIN_KEY_ID_BYTES} to {MAX_KEY_ID_BYTES}"
    return Dissected(base64url.encode(value), problem="" if right else f"{len(value)} bytes, {limits} allowed")


def _nonce(value: bytes, _: Context) -> Dissected:
    short = len(value) < MIN_NONCE_BYTES
    problem = f"{len(value)} bytes, at least {MIN_NONCE_BYTES} expected" if short else ""
    return Dissected(value.hex(), problem=problem)


def _public_key(value: bytes, context: Context) -> Dissected:
    if context.key_format == PublicKeyFormat.ECC_X962_RAW and len(value) % 2 and value[0] == 4 and len(value) > 1:
        half = len(value) // 2
        point = (_octets("x", value[1 : 1 + half]), _octets("y", value[1 + half :]))
        return Dissected(None, (Part(1, "uncompressed", 4), *point))
    if context.key_format == PublicKeyFormat.RSA_2048_RAW and len(value) > 256:
        return Dissected(None, (_octets("n", value[:256]), _octets("e", value[256:])))
    return Dissected(value.hex())


def _signature(value: bytes, context: Context) -> Dissected:
    row = ALGORITHMS.get(context.algorithm)
    if row is not None and row.scheme is Scheme.ECDSA:
        return _ecdsa_der(value) if row.der else _halves(value)
    if row is not None and row.der and value[:2] == b"\x04\x82" and len(value) > 4:
        return Dissected(None, (_octets("OCTET STRING", value[:4]), _octets("signature", value[4:])))
    return Dissected(value.hex())


def _halves(value: bytes) -> Dissected:
    half = len(value) // 2
    if len(value) % 2:
        return Dissected(value.hex())
    return Dissected(None, (_octets("r", value[:half]), _octets("s", value[half:])))


def _ecdsa_der(value: bytes) -> Dissected:
    """SEQUENCE {r, s} in the short form, whose numbers fill it; anything else is left whole."""
    if len(value) < 8 or value[0] != 0x30 or value[1] != len(value) - 2 or value[2] != 2:
        return Dissected(value.hex())
    second = 4 + value[3]
    if len(value) < second + 3 or value[second] != 2 or second + 2 + value[second + 1] != len(value) or value[3] == 0:
        return Dissected(value.hex())
    parts = (
        _octets("SEQUENCE", value[:2]),
        _octets("INTEGER", value[2:4]),
        _octets("r", value[4:second]),
        _octets("INTEGER", value[second : second + 2]),
        _octets("s", value[second + 2 :]),
    )
    return Dissected(None, parts)


def _certificate(value: bytes, _: Context) -> Dissected:
    try:
        return Dissected(load_certificate(value).subject.rfc4514_string())
    except MalformedError as error:
        return Dissected(value.hex(), problem=error.what)


def _extension_id(value: bytes, _: Context) -> Dissected:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return Dissected(value.hex(), problem="not UTF-8")
    return Dissected(text, problem="" if len(text) <= 32 else f"{len(text)} characters, at most 32 allowed")


def _user_verification(value: bytes, _: Context) -> Dissected:
    long = len(value) > MAX_USER_VERIFICATION_BYTES
    problem = f"{len(value)} bytes, at most {MAX_USER_VERIFICATION_BYTES} allowed" if long else ""
    return Dissected(value.hex(), problem=problem)


def _plain(value: bytes, _: Context) -> Dissected:
    return Dissected(value.hex())


_MAY_BE_EMPTY = frozenset({int(Tag.TRANSACTION_CONTENT_HASH), int(Tag.EXTENSION_DATA)})
_DISSECTORS: Mapping[int, Callable[[bytes, Context], Dissected]] = {
    int(Tag.AAID): _aaid,
    int(Tag.ASSERTION_INFO): _assertion_info,
    int(Tag.COUNTERS): _counters,
    int(Tag.KEYID): _key_id,
    int(Tag.AUTHENTICATOR_NONCE): _nonce,
    int(Tag.PUB_KEY): _public_key,
    int(Tag.SIGNATURE): _signature,
    int(Tag.ATTESTATION_CERT): _certificate,
    int(Tag.EXTENSION_ID): _extension_id,
    int(Tag.EXTENSION_DATA): _plain,
    int(Tag.FINAL_CHALLENGE_HASH): _plain,
    int(Tag.TRANSACTION_CONTENT_HASH): _plain,
    **dict.fromkeys((int(tag) for tag in UserVerificationTag), _user_verification),
}
