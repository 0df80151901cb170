"""authenticatorMakeCredential, step by step (CTAP 2.1, section 6.1.2)."""

from typing import Any

import pytest
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.core import rp_id_hash_of
from fidoloop.authenticator.ctap2.limits import MAX_LIST, MAX_RESIDENT
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from tests.authenticator.ctap2.lab import (
    ERR,
    ES256,
    HASH,
    PERMISSION,
    RP,
    RP_ID,
    USER,
    Lab,
    LabMaker,
    credential_id,
    descriptor,
    unknown_id,
)

UP, UV, AT = 0x01, 0x04, 0x40
DENIED = AuthenticatorError(CommandStatus.USER_CANCELLED, "no")
TIMED_OUT = AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody")


def refused(lab: Lab, status: ERR, **changes: Any) -> None:  # noqa: ANN401  # parameters of make_credential
    keys = lab.keys()
    with pytest.raises(CtapError) as caught:
        lab.make(**changes)
    assert caught.value.code is status
    assert lab.keys() == keys


def test_an_empty_parameter_selects_by_touch_and_tells_whether_there_is_a_pin(lab: Lab) -> None:  # step 1
    refused(lab, ERR.PIN_NOT_SET, pin_uv_param=b"")
    lab.set_pin()
    refused(lab, ERR.PIN_INVALID, pin_uv_param=b"")
    assert [request.operation for request in lab.user.asked] == ["selection", "selection"]
    lab.user.answer = DENIED
    refused(lab, ERR.OPERATION_DENIED, pin_uv_param=b"")
    lab.user.answer = TIMED_OUT
    refused(lab, ERR.USER_ACTION_TIMEOUT, pin_uv_param=b"")


def test_a_parameter_needs_a_protocol_that_is_here(pin_lab: Lab) -> None:  # step 2
    refused(pin_lab, ERR.MISSING_PARAMETER, pin_uv_param=b"x" * 32)
    refused(pin_lab, ERR.INVALID_PARAMETER, pin_uv_param=b"x" * 32, pin_uv_protocol=3)
    assert pin_lab.asked == 0


def test_the_first_algorithm_that_is_here_is_taken(lab: Lab) -> None:  # step 3
    wanted = [{"type": "public-key", "alg": number} for number in (-65535, -35, -7)]
    assert lab.make(key_params=[{"type": "other", "alg": -7}, *wanted]).auth_data.credential_data.public_key[3] == -35  # type: ignore[union-attr]
    refused(lab, ERR.UNSUPPORTED_ALGORITHM, key_params=wanted[:1])
    refused(lab, ERR.UNSUPPORTED_ALGORITHM, key_params=[{"type": "other", "alg": -7}])
    refused(lab, ERR.UNSUPPORTED_ALGORITHM, key_params=[])
    refused(lab, ERR.MISSING_PARAMETER, key_params=[*ES256, {"type": "public-key"}])
    refused(lab, ERR.MISSING_PARAMETER, key_params=[*ES256, {"alg": -7}])
    refused(lab, ERR.CBOR_UNEXPECTED_TYPE, key_params=[*ES256, {"type": "public-key", "alg": "-7"}])


def test_options(lab: Lab) -> None:  # step 5
    refused(lab, ERR.INVALID_OPTION, options={"up": False})
    refused(lab, ERR.INVALID_OPTION, options={"uv": True})
    assert lab.make(options={"up": True, "uv": False, "rk": False, "unknown": True}).auth_data.flags == UP | AT


def test_with_always_uv_the_user_is_verified(lab: Lab, uv_lab: Lab) -> None:  # steps 6 and 8
    for one in (lab, uv_lab):
        one.state.update(always_uv=True)
    refused(lab, ERR.PUAT_REQUIRED)
    lab.set_pin()
    refused(lab, ERR.PUAT_REQUIRED)
    assert lab.make(**lab.proof(PERMISSION.MAKE_CREDENTIAL)).auth_data.flags == UP | UV | AT
    assert uv_lab.make().auth_data.flags == UP | UV | AT


def test_with_a_pin_discoverable_credentials_need_it_and_others_do_not(pin_lab: Lab) -> None:  # steps 7 and 10
    refused(pin_lab, ERR.PUAT_REQUIRED, options={"rk": True})
    assert pin_lab.make().auth_data.flags == UP | AT
    made = pin_lab.make(options={"rk": True}, **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL))
    assert made.auth_data.flags == UP | UV | AT


@pytest.mark.parametrize("value", [1, 2, 3])
def test_there_is_no_enterprise_attestation(lab: Lab, value: int) -> None:  # step 9
    refused(lab, ERR.INVALID_PARAMETER, enterprise_attestation=value)


@pytest.mark.parametrize("version", [1, 2])
def test_a_token_proves_the_user(pin_lab: Lab, version: int) -> None:  # step 11.1
    proof = pin_lab.proof(PERMISSION.MAKE_CREDENTIAL, version=version)
    wrong = {**proof, "pin_uv_param": bytes(len(proof["pin_uv_param"]))}
    refused(pin_lab, ERR.PIN_AUTH_INVALID, **wrong)
    refused(pin_lab, ERR.PIN_AUTH_INVALID, **{**proof, "pin_uv_param": proof["pin_uv_param"][:-1]})
    refused(pin_lab, ERR.PIN_AUTH_INVALID, **{**proof, "pin_uv_protocol": 3 - version})
    refused(pin_lab, ERR.PIN_AUTH_INVALID, client_data_hash=HASH[::-1], **proof)
    refused(pin_lab, ERR.PIN_AUTH_INVALID, rp={"id": "other.example"}, **proof)
    assert pin_lab.make(**proof).auth_data.flags == UP | UV | AT


def test_a_token_without_the_permission_proves_nothing(pin_lab: Lab) -> None:
    refused(pin_lab, ERR.PIN_AUTH_INVALID, **pin_lab.proof(PERMISSION.GET_ASSERTION))
    refused(pin_lab, ERR.PIN_AUTH_INVALID, **pin_lab.proof(PERMISSION.CREDENTIAL_MGMT))


def test_a_token_is_spent_by_a_credential(pin_lab: Lab) -> None:
    proof = pin_lab.proof(PERMISSION.MAKE_CREDENTIAL | PERMISSION.GET_ASSERTION)
    pin_lab.make(**proof)
    refused(pin_lab, ERR.PIN_AUTH_INVALID, **proof)


def test_a_token_where_nobody_can_be_verified_is_refused(lab: Lab) -> None:
    refused(lab, ERR.PIN_NOT_SET, pin_uv_param=b"x" * 32, pin_uv_protocol=2)


def test_the_option_uv_does_not_count_beside_a_token(pin_lab: Lab) -> None:
    made = pin_lab.make(options={"uv": True}, **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL))
    assert made.auth_data.flags & UV


def test_built_in_verification_is_presence_too(uv_lab: Lab) -> None:  # steps 11.2 and 13
    assert uv_lab.make(options={"uv": True}).auth_data.flags == UP | UV | AT
    assert uv_lab.asked == 1


def test_built_in_verification_that_fails(uv_lab: Lab) -> None:
    uv_lab.user.answer = AuthenticatorError(CommandStatus.ACCESS_DENIED, "three wrong PINs")
    refused(uv_lab, ERR.OPERATION_DENIED, options={"uv": True})
    assert uv_lab.state.settings.uv_retries == 4
    uv_lab.user.answer = DENIED
    refused(uv_lab, ERR.OPERATION_DENIED, options={"uv": True})
    uv_lab.user.answer = TIMED_OUT
    refused(uv_lab, ERR.USER_ACTION_TIMEOUT, options={"uv": True})
    assert uv_lab.state.settings.uv_retries == 4
    uv_lab.state.update(uv_retries=0)
    refused(uv_lab, ERR.UV_BLOCKED, options={"uv": True})
    uv_lab.set_pin()
    refused(uv_lab, ERR.PUAT_REQUIRED, options={"uv": True})


def test_the_exclude_list_is_told_after_a_touch(lab: Lab) -> None:  # step 12
    made = lab.make()
    asked = lab.asked
    refused(lab, ERR.CREDENTIAL_EXCLUDED, exclude_list=[descriptor(made)])
    lab.user.answer = DENIED
    refused(lab, ERR.CREDENTIAL_EXCLUDED, exclude_list=[descriptor(made)])
    assert lab.asked == asked + 2


def test_credentials_that_are_not_here_exclude_nothing(lab: Lab) -> None:
    made = lab.make(rp={"id": "other.example"})
    unknown = {"type": "public-key", "id": unknown_id()}
    other_type = {"type": "other", "id": credential_id(made)}
    lab.make(exclude_list=[unknown, descriptor(made), other_type, {"type": "public-key", "id": b""}])
    refused(lab, ERR.LIMIT_EXCEEDED, exclude_list=[{"type": "public-key", "id": b"1"}] * (MAX_LIST + 1))


def test_who_is_not_verified_does_not_learn_of_protected_credentials(pin_lab: Lab) -> None:
    made = pin_lab.make(extensions={"credProtect": 3}, **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL))
    pin_lab.make(exclude_list=[descriptor(made)])
    proof = pin_lab.proof(PERMISSION.MAKE_CREDENTIAL)
    refused(pin_lab, ERR.CREDENTIAL_EXCLUDED, exclude_list=[descriptor(made)], **proof)


def test_the_user_is_asked_once_and_may_refuse(lab: Lab) -> None:  # step 14
    lab.make()
    (asked,) = lab.user.asked
    assert (asked.operation, asked.app_id, asked.username) == ("registration", RP_ID, "alice")
    lab.user.answer = DENIED
    refused(lab, ERR.OPERATION_DENIED)
    lab.user.answer = TIMED_OUT
    refused(lab, ERR.USER_ACTION_TIMEOUT)


def test_a_new_credential_of_the_same_user_replaces_the_old_one(lab: Lab) -> None:  # step 17
    old, new = lab.resident(user=b"same"), lab.resident(user=b"same")
    other = lab.resident(rp_id="other.example", user=b"same")
    assert lab.keys() == 3 - 1
    assert lab.get().credential["id"] == credential_id(new)
    with pytest.raises(CtapError, match="NO_CREDENTIALS"):
        lab.get(old)
    lab.get(other, rp_id="other.example")


def test_there_is_room_for_so_many_discoverable_credentials(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.info().remaining_disc_creds == MAX_RESIDENT
    monkeypatch.setattr("fidoloop.authenticator.ctap2.core.MAX_RESIDENT", 1)
    lab.resident(user=b"one")
    assert lab.info().remaining_disc_creds == 0
    refused(lab, ERR.KEY_STORE_FULL, options={"rk": True})
    lab.resident(user=b"one")  # takes the place of the old one
    lab.make()


@pytest.mark.parametrize("size", [0, 65])
def test_a_user_id_has_up_to_64_bytes(lab: Lab, size: int) -> None:
    refused(lab, ERR.INVALID_LENGTH, user={"id": bytes(size), "name": "x"})


def test_long_names_are_cut_between_characters(pin_lab: Lab) -> None:
    name = "x" + "ü" * 40
    user = {"id": b"1", "name": name, "displayName": name}
    pin_lab.make(user=user, options={"rk": True}, **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL))
    (entry,) = pin_lab.management().enumerate_creds(rp_id_hash_of(RP_ID))
    assert entry[6] == {"id": b"1", "name": "x" + "ü" * 31, "displayName": "x" + "ü" * 31}


def test_each_credential_has_a_key_of_its_own(lab: Lab) -> None:
    first, second = lab.make(), lab.make()
    assert credential_id(first) != credential_id(second)
    assert lab.keys() == 2
    assert first.auth_data.counter < second.auth_data.counter


def test_a_full_token_is_a_full_key_store(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from fidoloop.hsm.errors import TokenFull

    def full(*_: object, **__: object) -> None:
        raise TokenFull("no room")

    monkeypatch.setattr(lab.store, "generate", full)
    refused(lab, ERR.KEY_STORE_FULL)


def test_nothing_is_left_where_the_answer_cannot_be_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from fidoloop.hsm.errors import DeviceError

    def broken(*_: object, **__: object) -> None:
        raise DeviceError("no signature")

    monkeypatch.setattr("fidoloop.authenticator.ctap2.make_credential.attestation_statement", broken)
    refused(lab, ERR.OTHER, options={"rk": True})
    assert not lab.state.residents()


def test_a_verifier_that_asks_nobody_is_refused(make_lab: LabMaker) -> None:
    from fidoloop.protocol.uaf.registry import UserVerification

    with pytest.raises(ValueError, match="presence"):
        make_lab(method=UserVerification.NONE)


def test_rp_and_user_may_have_members_nobody_knows(lab: Lab) -> None:
    lab.make(rp={**RP, "icon": "x"}, user={**USER, "icon": "x"})
