"""The hardening of digest 3.5, rule by rule, through the public doors and with the code of each."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf import tlv as codec
from fidoloop.protocol.uaf.status import StatusCode

from ..builders import (
    AUTHENTICATION,
    REGISTRATION,
    SURROGATE,
    SURROGATE_REGISTRATION,
    USER_KEY,
    Assertion,
    der,
    entry,
    message,
    p256,
    point,
    rsa2048,
    spki,
    tlv,
)
from ..signers import integer_of, key_of, keys_of, rsa_raw, sign
from .verifying import authenticate, models, refused, register, stored

CONTENT, KEY, ALGORITHM = (
    StatusCode.UNACCEPTABLE_CONTENT,
    StatusCode.UNACCEPTABLE_KEY,
    StatusCode.UNACCEPTABLE_ALGORITHM,
)
BOTH: dict[str, tuple[Assertion, Callable[..., tuple[Any, ...]]]] = {
    "Reg": (REGISTRATION, register),
    "Auth": (AUTHENTICATION, authenticate),
}
EACH_OPERATION = pytest.mark.parametrize("operation", BOTH)
SINGLETONS = {
    "Reg": (0x2E0B, 0x2E0E, 0x2E0A, 0x2E09, 0x2E0D, 0x2E0C),
    "Auth": (0x2E0B, 0x2E0E, 0x2E0F, 0x2E0A, 0x2E10, 0x2E09, 0x2E0D),
}
EACH_SINGLETON = pytest.mark.parametrize(
    ("operation", "tag"), [(operation, tag) for operation, tags in SINGLETONS.items() for tag in tags]
)


def wrapped(assertion: Assertion, data: bytes) -> str:
    return message(assertion, wrapper={"assertion": base64url.encode(data)})


def resigned(assertion: Assertion, change: Callable[[list[codec.Element]], list[codec.Element]]) -> str:
    """Returns the message whose signed elements are changed, and signed again: only their form is wrong."""
    (signed,) = codec.parse(assertion.signed)
    assert isinstance(signed.value, tuple)
    body = codec.encode((codec.Element(signed.tag, tuple(change(list(signed.value)))),))
    full = assertion.operation == "Reg"
    key = assertion.attestation_key if full else assertion.key
    signature = tlv(0x2E06, sign(1, key, body))
    if full:
        attestation = tlv(0x3E07, signature, *(tlv(0x2E05, each) for each in assertion.chain))
        return wrapped(assertion, tlv(0x3E01, body, attestation))
    return wrapped(assertion, tlv(0x3E02, body, signature))


@EACH_OPERATION
def test_the_order_inside_the_signed_data_is_free(operation: str) -> None:
    assertion, verify = BOTH[operation]
    assert verify(resigned(assertion, lambda elements: elements))
    assert verify(resigned(assertion, lambda elements: elements[::-1]))


@EACH_SINGLETON
def test_a_field_that_stands_twice_is_refused_though_signed(operation: str, tag: int) -> None:
    assertion, verify = BOTH[operation]
    text = resigned(assertion, lambda elements: [*elements, *(each for each in elements if each.tag == tag)])
    assert refused(verify, text)[0] is CONTENT


@EACH_SINGLETON
def test_a_field_that_is_missing_is_refused_though_signed(operation: str, tag: int) -> None:
    assertion, verify = BOTH[operation]
    text = resigned(assertion, lambda elements: [each for each in elements if each.tag != tag])
    assert refused(verify, text)[0] is CONTENT


@EACH_OPERATION
def test_the_signed_data_comes_first(operation: str) -> None:
    assertion, verify = BOTH[operation]
    (outer,) = codec.parse(assertion.encode())
    assert isinstance(outer.value, tuple)
    text = wrapped(assertion, codec.encode((codec.Element(outer.tag, outer.value[::-1]),)))
    assert refused(verify, text)[0] is CONTENT


@EACH_OPERATION
@pytest.mark.parametrize("delta", [-1, 1, 100])
def test_a_length_that_does_not_fit_is_refused(operation: str, delta: int) -> None:
    assertion, verify = BOTH[operation]
    data = bytearray(assertion.encode())
    struct.pack_into("<H", data, 2, struct.unpack_from("<H", data, 2)[0] + delta)
    assert refused(verify, wrapped(assertion, bytes(data)))[0] is CONTENT


@EACH_OPERATION
@pytest.mark.parametrize("size", [0, 4, 5, 6, 7, 8])
def test_assertion_info_of_another_length_is_refused_though_signed(operation: str, size: int) -> None:
    assertion, verify = BOTH[operation]

    def cut(elements: list[codec.Element]) -> list[codec.Element]:
        return [
            codec.Element(each.tag, (bytes(each.value) + bytes(4))[:size])
            if each.tag == 0x2E0E and isinstance(each.value, bytes)
            else each
            for each in elements
        ]

    if size == {"Reg": 7, "Auth": 5}[operation]:
        assert verify(resigned(assertion, cut))
    else:
        assert refused(verify, resigned(assertion, cut))[0] is CONTENT


@pytest.mark.parametrize("mode", [0, 2, 3, 255])
def test_a_registration_is_of_mode_1(mode: int) -> None:
    assert refused(register, message(REGISTRATION.with_(mode=mode))) == (
        CONTENT,
        f"authentication mode {mode} in a registration",
    )


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_nonce_has_at_least_eight_bytes(size: int) -> None:
    text = message(AUTHENTICATION.with_(nonce=bytes(size)))
    assert refused(authenticate, text) == (CONTENT, f"AUTHENTICATOR_NONCE of {size} bytes")
    assert authenticate(message(AUTHENTICATION.with_(nonce=bytes(8))))


# Curve, algorithm and key format that do not go together: model, what the assertion claims, the key; the code.
MISMATCHES: dict[str, tuple[dict[str, Any], dict[str, Any], StatusCode]] = {
    "key of another curve": ({}, {"public_key": point(key_of(5))}, KEY),
    "key of another curve in SPKI": (
        {"publicKeyAlgAndEncoding": 0x101},
        {"key_format": 0x101, "public_key": spki(key_of(5))},
        KEY,
    ),
    "RSA key where EC is claimed": ({}, {"public_key": rsa_raw(rsa2048())}, KEY),
    "SPKI where a point is claimed": ({}, {"public_key": spki(p256(USER_KEY))}, KEY),
    "a point where SPKI is claimed": ({"publicKeyAlgAndEncoding": 0x101}, {"key_format": 0x101}, KEY),
    "format that is not the model's": ({}, {"key_format": 0x101, "public_key": spki(p256(USER_KEY))}, KEY),
    "format that is unknown": ({}, {"key_format": 0x105}, KEY),
    "EC key where the model says RSA": (
        {"authenticationAlgorithm": 3, "publicKeyAlgAndEncoding": 0x102},
        {"algorithm": 3, "key_format": 0x102},
        KEY,
    ),
    "algorithm that is not the model's": ({}, {"algorithm": 2}, ALGORITHM),
    "algorithm that is unknown": ({}, {"algorithm": 0x14}, ALGORITHM),
    "SM2": ({"authenticationAlgorithm": 7}, {"algorithm": 7}, ALGORITHM),
    "SHA-1": (
        {"authenticationAlgorithm": 0x0F, "publicKeyAlgAndEncoding": 0x103},
        {"algorithm": 0x0F, "key_format": 0x103, "public_key": keys_of(3)[0x103]},
        ALGORITHM,
    ),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_what_does_not_go_together_is_not_registered(case: str) -> None:
    model, changes, status = MISMATCHES[case]
    metadata = models(entry(**{**SURROGATE, **model}))
    text = message(SURROGATE_REGISTRATION.with_(signature=bytes(64), **changes))
    assert refused(register, text, metadata=metadata)[0] is status


@pytest.mark.parametrize("algorithm", [2, 3, 5, 6, 8, 0x10, 0x12])
def test_an_authentication_is_of_the_algorithm_registered(algorithm: int) -> None:
    made = AUTHENTICATION.with_(algorithm=algorithm)
    text = message(made.with_(signature=sign(1, p256(USER_KEY), made.signed)))
    assert refused(authenticate, text) == (ALGORITHM, "signature algorithm is not the registered one")


def test_a_signature_by_another_curve_than_the_attestation_keys_is_an_unacceptable_algorithm() -> None:
    made = REGISTRATION.with_(algorithm=5)
    text = message(made.with_(signature=sign(5, key_of(5), made.signed)))
    assert refused(register, text)[0] is ALGORITHM


def test_integers_with_the_top_bit_set_and_no_leading_00_are_read_as_unsigned() -> None:
    """The conformance tool writes them so, which in DER would be negative numbers."""
    made = AUTHENTICATION.with_(algorithm=2)
    while True:
        r, s = integer_of(der(p256(USER_KEY), made.signed))
        if r[0] & s[0] & 0x80:
            break
    body = b"\x02\x20" + r + b"\x02\x20" + s
    text = message(made.with_(signature=b"\x30" + bytes([len(body)]) + body))
    assert authenticate(text, keys=stored(signature_algorithm=2))
