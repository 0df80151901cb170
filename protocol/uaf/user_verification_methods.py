"""The extension fido.uaf.uvm: how the user was verified this time (digest 1.3)."""

import struct
from collections.abc import Sequence

import msgspec

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import AssertionExtension
from fidoloop.protocol.uaf.extensions import UVM
from fidoloop.protocol.uaf.match_criteria import AuthenticatorFacts
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal

MAX_METHODS = 3
_METHOD = struct.Struct("<IHH")


class UserVerificationMethod(msgspec.Struct, frozen=True):
    """One method that was used: USER_VERIFY_*, KEY_PROTECTION_* and MATCHER_PROTECTION_*."""

    user_verification: int
    key_protection: int
    matcher_protection: int


def parse_user_verification_methods(data: bytes, where: str = "$") -> tuple[UserVerificationMethod, ...]:
    """Return the methods in the extension's `data`: u32, u16 and u16 each, little-endian.

    Raises:
        MalformedError: none, more than three, or a part of one.
    """
    count, rest = divmod(len(data), _METHOD.size)
    if rest or not 1 <= count <= MAX_METHODS:
        raise MalformedError(where, f"{len(data)} bytes, 1 to {MAX_METHODS} times {_METHOD.size} expected")
    return tuple(UserVerificationMethod(*values) for values in _METHOD.iter_unpack(data))


def encode_user_verification_methods(methods: Sequence[UserVerificationMethod]) -> bytes:
    """Return the extension's data for `methods`."""
    return b"".join(
        _METHOD.pack(method.user_verification, method.key_protection, method.matcher_protection) for method in methods
    )


def verified_methods(
    extensions: Sequence[AssertionExtension], facts: AuthenticatorFacts
) -> tuple[UserVerificationMethod, ...]:
    """Return the methods that an assertion says were used, held against what its model can do; empty if it says none.

    Only a signed extension counts: one beside the signed data anybody can add.

    Raises:
        UafRefusal: UNACCEPTABLE_CONTENT where it is malformed, stands twice or says what the model cannot.
    """
    found = [extension for extension in extensions if extension.id == UVM and extension.signed]
    if not found:
        return ()
    if len(found) > 1:
        raise _content("stands twice")
    try:
        methods = parse_user_verification_methods(found[0].data, UVM)
    except MalformedError as error:
        raise _content(error.what) from None
    for method in methods:
        _check_method(method, facts)
    return methods


def _check_method(method: UserVerificationMethod, facts: AuthenticatorFacts) -> None:
    """One method of the model's, protected as the model says (a model that cannot be said in one field has 0)."""
    used, possible = method.user_verification, facts.user_verification
    if used.bit_count() != 1 or (possible and not used & possible):
        raise _content("a user verification method that is not the model's")
    if method.key_protection & ~facts.key_protection or not method.key_protection:
        raise _content("a key protection that is not the model's")
    if method.matcher_protection & ~facts.matcher_protection:
        raise _content("a matcher protection that is not the model's")


def _content(detail: str) -> UafRefusal:
    return UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, f"{UVM}: {detail}")
