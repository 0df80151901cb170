"""authenticatorConfig, authenticatorReset, getInfo (CTAP 2.1, sections 6.11, 6.6, 6.4)."""

from typing import Any

import pytest
from fido2.ctap import CtapError
from fido2.ctap2 import Config  # type: ignore[attr-defined]  # the package's names, as its users import them

from fidoloop.authenticator.ctap2.authenticator import RESET_SECONDS
from fidoloop.authenticator.ctap2.limits import MAX_RP_IDS
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from tests.authenticator.ctap2.lab import ERR, PERMISSION, PIN, PROTOCOLS, RP_ID, Lab

VERSIONS = pytest.mark.parametrize("version", [1, 2])


def refused(status: ERR, call: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
    with pytest.raises(CtapError) as caught:
        call(*arguments, **named)
    assert caught.value.code is status


def test_info_claims_what_is_here(lab: Lab, uv_lab: Lab) -> None:
    info = lab.info()
    assert info.versions == ["U2F_V2", "FIDO_2_0", "FIDO_2_1"]
    assert info.extensions == ["credBlob", "credProtect", "hmac-secret", "largeBlobKey", "minPinLength"]
    assert info.options == {
        "rk": True,
        "up": True,
        "plat": False,
        "alwaysUv": False,
        "credMgmt": True,
        "authnrCfg": True,
        "clientPin": False,
        "largeBlobs": True,
        "pinUvAuthToken": True,
        "setMinPINLength": True,
        "makeCredUvNotRqd": True,
    }
    assert [entry["alg"] for entry in info.algorithms] == [-7, -35, -8, -257]
    assert info.pin_uv_protocols == [2, 1]
    assert uv_lab.info().options["uv"] is True
    assert uv_lab.info().aaguid != info.aaguid
    assert (info.uv_modality, uv_lab.info().uv_modality) == (0, 0x04)


@VERSIONS
def test_always_uv_is_switched_with_a_token_where_there_is_a_pin(lab: Lab, version: int) -> None:
    lab.config().toggle_always_uv()
    assert lab.info().options["alwaysUv"] is True
    assert lab.info().options["makeCredUvNotRqd"] is False
    assert "U2F_V2" not in lab.info().versions
    lab.restart()
    assert lab.info().options["alwaysUv"] is True
    refused(ERR.PUAT_REQUIRED, lab.config().set_min_pin_length, 6)
    lab.set_pin()
    lab.config(version=version).toggle_always_uv()
    assert lab.info().options["alwaysUv"] is False
    assert "U2F_V2" in lab.info().versions


@VERSIONS
def test_the_minimum_length_only_grows(pin_lab: Lab, version: int) -> None:
    refused(ERR.PIN_POLICY_VIOLATION, pin_lab.config(version=version).set_min_pin_length, 3)
    refused(ERR.PIN_POLICY_VIOLATION, pin_lab.config(version=version).set_min_pin_length, 64)
    pin_lab.config(version=version).set_min_pin_length(4)
    assert not pin_lab.info().force_pin_change
    pin_lab.config(version=version).set_min_pin_length(6)
    assert (pin_lab.info().min_pin_length, pin_lab.info().force_pin_change) == (6, True)
    pin_lab.restart()
    pin = pin_lab.client_pin(version)
    refused(ERR.PIN_POLICY_VIOLATION, pin.get_pin_token, PIN, PERMISSION.CREDENTIAL_MGMT)
    refused(ERR.PIN_INVALID, pin.get_pin_token, PIN)
    refused(ERR.PIN_POLICY_VIOLATION, pin.change_pin, PIN, "12345")
    pin.change_pin(PIN, "123456")
    assert not pin_lab.info().force_pin_change
    pin.get_pin_token("123456")


def test_a_pin_that_has_to_be_changed_has_to_be_another(pin_lab: Lab) -> None:
    pin_lab.config().set_min_pin_length(force_change_pin=True)
    assert pin_lab.info().force_pin_change
    refused(ERR.PIN_POLICY_VIOLATION, pin_lab.client_pin().change_pin, PIN, PIN)
    pin_lab.client_pin().change_pin(PIN, "31415")
    pin_lab.client_pin().change_pin("31415", "31415")


def test_a_pin_that_is_not_set_cannot_be_made_to_be_changed(lab: Lab) -> None:
    refused(ERR.PIN_NOT_SET, lab.config().set_min_pin_length, force_change_pin=True)
    lab.config().set_min_pin_length(8)
    assert (lab.info().min_pin_length, lab.info().force_pin_change) == (8, False)
    refused(ERR.PIN_POLICY_VIOLATION, lab.client_pin().set_pin, "1234567")


def test_relying_parties_named_are_told_the_minimum_length(lab: Lab) -> None:
    lab.config().set_min_pin_length(5, rp_ids=[RP_ID])
    assert lab.make(extensions={"minPinLength": True}).auth_data.extensions == {"minPinLength": 5}
    assert lab.make(rp={"id": "other.example"}, extensions={"minPinLength": True}).auth_data.extensions is None
    assert lab.make(extensions={"minPinLength": False}).auth_data.extensions is None
    refused(ERR.KEY_STORE_FULL, lab.config().set_min_pin_length, rp_ids=[f"{n}.example" for n in range(MAX_RP_IDS + 1)])
    lab.config().set_min_pin_length(rp_ids=[])
    assert lab.make(extensions={"minPinLength": True}).auth_data.extensions is None


@VERSIONS
def test_a_token_without_the_permission_changes_nothing(pin_lab: Lab, version: int) -> None:
    token = pin_lab.token(PERMISSION.CREDENTIAL_MGMT, None, version=version)
    for value in (token, bytes(32)):
        config = Config(pin_lab.ctap, PROTOCOLS[version](), value)
        refused(ERR.PIN_AUTH_INVALID, config.toggle_always_uv)
        refused(ERR.PIN_AUTH_INVALID, config.set_min_pin_length, 8)
    refused(ERR.PUAT_REQUIRED, Config(pin_lab.ctap).toggle_always_uv)
    assert pin_lab.info().min_pin_length == 4


def test_enterprise_attestation_cannot_be_switched_on(lab: Lab) -> None:
    refused(ERR.INVALID_SUBCOMMAND, lab.config().enable_enterprise_attestation)


def test_reset_makes_everything_new(lab: Lab) -> None:
    made, resident = lab.make(), lab.resident()
    lab.set_pin()
    lab.config().set_min_pin_length(6)
    counter = resident.auth_data.counter
    lab.device.connect()
    lab.ctap.reset()
    assert lab.keys() == 0
    info = lab.info()
    assert (info.options["clientPin"], info.min_pin_length, info.force_pin_change) == (False, 4, False)
    for one in (made, resident):
        refused(ERR.NO_CREDENTIALS, lab.get, one)
    assert lab.make().auth_data.counter > counter


def test_reset_only_soon_after_power_up_and_with_the_user(lab: Lab) -> None:
    made = lab.make()
    lab.now += RESET_SECONDS + 1
    refused(ERR.NOT_ALLOWED, lab.ctap.reset)
    lab.device.connect()
    lab.user.answer = AuthenticatorError(CommandStatus.USER_CANCELLED, "no")
    refused(ERR.OPERATION_DENIED, lab.ctap.reset)
    lab.user.answer = AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody")
    refused(ERR.USER_ACTION_TIMEOUT, lab.ctap.reset)
    lab.user.answer = None
    lab.get(made)
    lab.ctap.reset()
    refused(ERR.NO_CREDENTIALS, lab.get, made)


def test_selection(lab: Lab) -> None:
    lab.ctap.selection()
    lab.user.answer = AuthenticatorError(CommandStatus.USER_CANCELLED, "no")
    refused(ERR.OPERATION_DENIED, lab.ctap.selection)
    lab.user.answer = AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody")
    refused(ERR.USER_ACTION_TIMEOUT, lab.ctap.selection)
