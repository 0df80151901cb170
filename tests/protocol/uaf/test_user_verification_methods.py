import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import AssertionExtension
from fidoloop.protocol.uaf.policy import AuthenticatorFacts
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.user_verification_methods import (
    UserVerificationMethod,
    encode_user_verification_methods,
    parse_user_verification_methods,
    verified_methods,
)

FINGERPRINT_IN_TEE = UserVerificationMethod(0x02, 0x06, 0x02)
METHOD = st.builds(UserVerificationMethod, st.integers(0, 2**32 - 1), st.integers(0, 65535), st.integers(0, 65535))


def facts(user_verification: int = 0x06) -> AuthenticatorFacts:
    return AuthenticatorFacts(
        "F10B#0111",
        frozenset(),
        user_verification,
        0x06,
        0x02,
        None,
        1,
        frozenset({1}),
        frozenset({"UAFV1TLV"}),
        frozenset({0x3E07}),
        1,
    )


def uvm(*methods: tuple[int, int, int], signed: bool = True, data: bytes | None = None) -> AssertionExtension:
    packed = b"".join(struct.pack("<IHH", *method) for method in methods)
    return AssertionExtension("fido.uaf.uvm", packed if data is None else data, False, signed)


@given(st.lists(METHOD, min_size=1, max_size=3).map(tuple))
def test_methods_read_back(methods: tuple[UserVerificationMethod, ...]) -> None:
    assert parse_user_verification_methods(encode_user_verification_methods(methods)) == methods


def test_numbers_are_little_endian() -> None:
    found = parse_user_verification_methods(bytes.fromhex("0200000006000200"))
    assert found == (FINGERPRINT_IN_TEE,)


@pytest.mark.parametrize("size", [0, 1, 7, 9, 15, 31, 32, 40])
def test_none_more_than_three_or_a_part_of_one_is_malformed(size: int) -> None:
    with pytest.raises(MalformedError):
        parse_user_verification_methods(bytes(size))


def test_what_a_signed_extension_says_is_what_was_used() -> None:
    assert verified_methods((uvm((0x02, 0x06, 0x02)),), facts()) == (FINGERPRINT_IN_TEE,)
    both = verified_methods((uvm((0x02, 0x06, 0x02), (0x04, 0x02, 0x02)),), facts())
    assert [method.user_verification for method in both] == [2, 4]


def test_nothing_said_or_said_beside_the_signed_data_is_nothing() -> None:
    other = AssertionExtension("other", bytes(8), False, True)
    assert verified_methods((), facts()) == ()
    assert verified_methods((other, uvm((0x10, 1, 1), signed=False)), facts()) == ()


def test_a_model_that_no_single_field_describes_may_say_any_method() -> None:
    assert verified_methods((uvm((0x10, 0x06, 0x02)),), facts(0))[0].user_verification == 0x10


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ((uvm(data=bytes(7)),), "7 bytes"),
        ((uvm(data=b""),), "0 bytes"),
        ((uvm((2, 6, 2)), uvm((2, 6, 2))), "stands twice"),
        ((uvm((0x10, 6, 2)),), "user verification"),
        ((uvm((0x06, 6, 2)),), "user verification"),
        ((uvm((0, 6, 2)),), "user verification"),
        ((uvm((2, 0x01, 2)),), "key protection"),
        ((uvm((2, 0x0E, 2)),), "key protection"),
        ((uvm((2, 0, 2)),), "key protection"),
        ((uvm((2, 6, 0x01)),), "matcher protection"),
        ((uvm((2, 6, 2), (0x10, 6, 2)),), "user verification"),
    ],
)
def test_what_the_model_cannot_is_refused(extensions: tuple[AssertionExtension, ...], reason: str) -> None:
    with pytest.raises(UafRefusal, match=reason) as caught:
        verified_methods(extensions, facts())
    assert caught.value.status is StatusCode.UNACCEPTABLE_CONTENT
