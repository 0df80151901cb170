"""authenticatorGetAssertion and getNextAssertion, step by step (CTAP 2.1, sections 6.2.2 and 6.3)."""

from typing import Any

import pytest
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.core import NEXT_SECONDS
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from tests.authenticator.ctap2.lab import (
    ERR,
    HASH,
    PERMISSION,
    RP_ID,
    Lab,
    credential_id,
    descriptor,
    public_key,
    unknown_id,
)

UP, UV = 0x01, 0x04
DENIED = AuthenticatorError(CommandStatus.USER_CANCELLED, "no")
TIMED_OUT = AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody")


def refused(lab: Lab, status: ERR, *credentials: Any, **changes: Any) -> None:  # noqa: ANN401
    with pytest.raises(CtapError) as caught:
        lab.get(*credentials, **changes)
    assert caught.value.code is status


def test_an_empty_parameter_selects_by_touch(lab: Lab) -> None:  # step 1
    refused(lab, ERR.PIN_NOT_SET, pin_uv_param=b"")
    lab.set_pin()
    refused(lab, ERR.PIN_INVALID, pin_uv_param=b"")
    assert lab.asked == 2
    lab.user.answer = DENIED
    refused(lab, ERR.OPERATION_DENIED, pin_uv_param=b"")


def test_a_parameter_needs_a_protocol_that_is_here(pin_lab: Lab) -> None:  # step 2
    refused(pin_lab, ERR.MISSING_PARAMETER, pin_uv_param=b"x" * 32)
    refused(pin_lab, ERR.INVALID_PARAMETER, pin_uv_param=b"x" * 32, pin_uv_protocol=0)


def test_options(lab: Lab) -> None:  # step 4
    made = lab.make()
    refused(lab, ERR.UNSUPPORTED_OPTION, made, options={"rk": True})
    refused(lab, ERR.UNSUPPORTED_OPTION, made, options={"rk": False})
    refused(lab, ERR.INVALID_OPTION, made, options={"uv": True})
    assert lab.get(made, options={"uv": False, "unknown": True}).auth_data.flags == UP


def test_without_presence_nobody_is_asked_and_no_flag_set(lab: Lab) -> None:
    made = lab.make()
    asked = lab.asked
    silent = lab.get(made, options={"up": False})
    assert silent.auth_data.flags == 0
    silent.verify(HASH, public_key(made))
    assert lab.asked == asked


def test_with_always_uv_the_user_is_verified_unless_nothing_is_asked_of_him(pin_lab: Lab, uv_lab: Lab) -> None:
    made = pin_lab.make()  # step 5
    pin_lab.state.update(always_uv=True)
    refused(pin_lab, ERR.PUAT_REQUIRED, made)
    assert pin_lab.get(made, options={"up": False}).auth_data.flags == 0
    assert pin_lab.get(made, **pin_lab.proof(PERMISSION.GET_ASSERTION)).auth_data.flags == UP | UV
    made = uv_lab.make()
    uv_lab.state.update(always_uv=True)
    assert uv_lab.get(made).auth_data.flags == UP | UV


@pytest.mark.parametrize("version", [1, 2])
def test_a_token_proves_the_user(pin_lab: Lab, version: int) -> None:  # step 6.1
    made = pin_lab.make()
    proof = pin_lab.proof(PERMISSION.GET_ASSERTION, version=version)
    refused(pin_lab, ERR.PIN_AUTH_INVALID, made, **{**proof, "pin_uv_param": b"x" * 32})
    refused(pin_lab, ERR.PIN_AUTH_INVALID, made, rp_id="other.example", **proof)
    assert pin_lab.get(made, options={"up": False}, **proof).auth_data.flags == UV
    assert pin_lab.get(made, **proof).auth_data.flags == UP | UV
    refused(pin_lab, ERR.PIN_AUTH_INVALID, made, **proof)
    refused(pin_lab, ERR.PIN_AUTH_INVALID, made, **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL, version=version))


def test_a_token_of_ctap_2_0_is_for_the_first_relying_party_it_is_used_with(pin_lab: Lab) -> None:
    made, other = pin_lab.make(), pin_lab.make(rp={"id": "other.example"})
    token = pin_lab.client_pin().get_pin_token("2718")
    proof = {"pin_uv_param": pin_lab.client_pin().protocol.authenticate(token, HASH), "pin_uv_protocol": 2}
    pin_lab.get(made, options={"up": False}, **proof)
    refused(pin_lab, ERR.PIN_AUTH_INVALID, other, rp_id="other.example", **proof)
    pin_lab.get(made, **proof)


def test_built_in_verification_is_presence_too(uv_lab: Lab) -> None:  # steps 6.2 and 8
    made = uv_lab.make()
    asked = uv_lab.asked
    assert uv_lab.get(made, options={"uv": True}).auth_data.flags == UP | UV
    assert uv_lab.asked == asked + 1
    uv_lab.user.answer = AuthenticatorError(CommandStatus.USER_LOCKOUT, "the token's PIN is locked")
    refused(uv_lab, ERR.UV_BLOCKED, made, options={"uv": True})


def test_only_credentials_of_the_relying_party_are_found(lab: Lab) -> None:  # step 7
    made, other = lab.make(), lab.make(rp={"id": "other.example"})
    unknown = {"type": "public-key", "id": unknown_id()}
    found = lab.ctap.get_assertion(RP_ID, HASH, [unknown, descriptor(other), descriptor(made)])
    assert found.credential["id"] == credential_id(made)
    assert found.number_of_credentials is None
    assert found.user is None
    refused(lab, ERR.NO_CREDENTIALS, other)
    refused(lab, ERR.NO_CREDENTIALS)
    with pytest.raises(CtapError, match="NO_CREDENTIALS"):
        lab.ctap.get_assertion(RP_ID, HASH, [{"type": "other", "id": credential_id(made)}])


def test_every_bit_of_a_credential_id_counts(lab: Lab) -> None:
    made = lab.make()
    for position in range(0, 8 * len(credential_id(made)), 7):
        forged = bytearray(credential_id(made))
        forged[position // 8] ^= 1 << position % 8
        with pytest.raises(CtapError, match="NO_CREDENTIALS"):
            lab.ctap.get_assertion(RP_ID, HASH, [{"type": "public-key", "id": bytes(forged)}])


def test_protected_credentials_are_found_by_whom_they_may_be(pin_lab: Lab) -> None:
    made = {
        level: pin_lab.make(
            user={"id": bytes((level,))},
            options={"rk": True},
            extensions={"credProtect": level},
            **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL),
        )
        for level in (1, 2, 3)
    }
    assert pin_lab.get().number_of_credentials is None
    pin_lab.get(made[1])
    pin_lab.get(made[2])
    refused(pin_lab, ERR.NO_CREDENTIALS, made[3])
    assert pin_lab.get(**pin_lab.proof(PERMISSION.GET_ASSERTION)).number_of_credentials == 3
    pin_lab.get(made[3], **pin_lab.proof(PERMISSION.GET_ASSERTION))


def test_the_user_may_refuse(lab: Lab) -> None:  # step 9
    made = lab.make()
    lab.user.answer = DENIED
    refused(lab, ERR.OPERATION_DENIED, made)
    lab.user.answer = TIMED_OUT
    refused(lab, ERR.USER_ACTION_TIMEOUT, made)


def test_of_one_account_only_the_user_id_is_told(pin_lab: Lab) -> None:  # step 11
    pin_lab.make(options={"rk": True}, **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL))
    assert pin_lab.get(**pin_lab.proof(PERMISSION.GET_ASSERTION)).user == {"id": b"user-1"}


def test_names_are_told_where_the_user_is_verified_and_has_to_choose(pin_lab: Lab) -> None:
    for name in (b"anna", b"bert"):
        user = {"id": name, "name": name.decode(), "displayName": name.decode().title()}
        pin_lab.make(user=user, options={"rk": True}, **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL))
    assert pin_lab.get().user == {"id": b"bert"}
    assert pin_lab.ctap.get_next_assertion().user == {"id": b"anna"}
    assert pin_lab.get(**pin_lab.proof(PERMISSION.GET_ASSERTION)).user["displayName"] == "Bert"
    assert pin_lab.ctap.get_next_assertion().user["name"] == "anna"  # type: ignore[index]


def test_of_several_accounts_the_newest_comes_first(lab: Lab) -> None:
    made = [lab.resident() for _ in range(3)][::-1]
    assertions = lab.ctap.get_assertions(RP_ID, HASH)
    assert [one.credential["id"] for one in assertions] == [credential_id(one) for one in made]
    assert [one.number_of_credentials for one in assertions] == [3, None, None]
    for one, credential in zip(assertions, made, strict=True):
        one.verify(HASH, public_key(credential))
        assert one.auth_data.flags == UP
    counters = [one.auth_data.counter for one in assertions]
    assert counters == sorted(set(counters))
    with pytest.raises(CtapError, match="NOT_ALLOWED"):
        lab.ctap.get_next_assertion()


def test_there_is_no_next_assertion_out_of_turn(lab: Lab) -> None:
    def next_is_refused() -> None:
        with pytest.raises(CtapError, match="NOT_ALLOWED"):
            lab.ctap.get_next_assertion()

    next_is_refused()
    for _ in range(3):
        lab.resident()
    lab.get()
    lab.info()  # any other command ends it
    next_is_refused()
    lab.get()
    lab.now += NEXT_SECONDS + 1
    next_is_refused()
    lab.now -= NEXT_SECONDS + 1
    next_is_refused()
    lab.get()
    lab.now += NEXT_SECONDS - 1
    lab.ctap.get_next_assertion()
    lab.now += NEXT_SECONDS - 1  # each one starts the clock anew
    lab.ctap.get_next_assertion()
    lab.get()
    lab.authenticator.power_cycle()
    next_is_refused()


def test_with_an_allow_list_there_is_one_assertion(lab: Lab) -> None:
    made = [lab.resident() for _ in range(2)]
    found = lab.get(*made)
    assert found.number_of_credentials is None
    assert found.user is not None
    with pytest.raises(CtapError, match="NOT_ALLOWED"):
        lab.ctap.get_next_assertion()


def test_a_key_that_left_the_token_is_no_credential(lab: Lab) -> None:
    made = lab.make()
    lab.restart()
    lab.authenticator.core.destroy_all_keys()
    refused(lab, ERR.NO_CREDENTIALS, made)
