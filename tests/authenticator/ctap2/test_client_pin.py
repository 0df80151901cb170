"""authenticatorClientPIN (CTAP 2.1, section 6.5)."""

from typing import Any

import pytest
from fido2.ctap import CtapError
from fido2.ctap2 import ClientPin  # type: ignore[attr-defined]  # the package's names, as its users import them

from fidoloop.authenticator.ctap2.auth_token import INITIAL_USE_SECONDS, MAX_USE_SECONDS, USER_PRESENT_SECONDS
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from tests.authenticator.ctap2.lab import ERR, HASH, PERMISSION, PIN, RP_ID, Lab

VERSIONS = pytest.mark.parametrize("version", [1, 2])
RESULT = ClientPin.RESULT


def refused(status: ERR, call: Any, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
    with pytest.raises(CtapError) as caught:
        call(*arguments, **named)
    assert caught.value.code is status


@VERSIONS
def test_a_pin_is_set_used_and_changed(lab: Lab, version: int) -> None:
    pin = lab.client_pin(version)
    assert lab.info().options["clientPin"] is False
    refused(ERR.PIN_NOT_SET, pin.get_pin_token, PIN)
    refused(ERR.PIN_NOT_SET, pin.change_pin, PIN, "31415")
    pin.set_pin(PIN)
    assert lab.info().options["clientPin"] is True
    refused(ERR.PIN_AUTH_INVALID, pin.set_pin, "31415")
    assert len(pin.get_pin_token(PIN)) == 32
    pin.change_pin(PIN, "31415")
    refused(ERR.PIN_INVALID, pin.get_pin_token, PIN)
    pin.get_pin_token("31415")
    lab.restart()
    lab.client_pin(version).get_pin_token("31415")


@VERSIONS
@pytest.mark.parametrize(("pin", "fine"), [("123", False), ("üüü", False), ("üüüü", True), ("1" * 63, True)])
def test_a_pin_has_at_least_four_characters(lab: Lab, version: int, pin: str, fine: bool) -> None:
    set_padded = lab.client_pin(version)
    padded = pin.encode().ljust(64, b"\0")
    if fine:
        send_set_pin(set_padded, padded)
        set_padded.get_pin_token(pin)
    else:
        refused(ERR.PIN_POLICY_VIOLATION, send_set_pin, set_padded, padded)
        assert not lab.info().options["clientPin"]


@VERSIONS
@pytest.mark.parametrize(
    ("padded", "status"),
    [
        (b"1234".ljust(48, b"\0"), ERR.INVALID_PARAMETER),
        (b"1234".ljust(80, b"\0"), ERR.INVALID_PARAMETER),
        (b"", ERR.INVALID_PARAMETER),
        (b"1" * 64, ERR.PIN_POLICY_VIOLATION),
        (b"\xff\xff\xff\xff".ljust(64, b"\0"), ERR.PIN_POLICY_VIOLATION),
        (bytes(64), ERR.PIN_POLICY_VIOLATION),
    ],
)
def test_a_new_pin_is_64_bytes_of_text_and_zeros(lab: Lab, version: int, padded: bytes, status: ERR) -> None:
    refused(status, send_set_pin, lab.client_pin(version), padded)


def send_set_pin(pin: ClientPin, padded: bytes) -> None:
    key_agreement, shared = pin._get_shared_secret()
    encrypted = pin.protocol.encrypt(shared, padded)
    pin.ctap.client_pin(
        pin.protocol.VERSION,
        ClientPin.CMD.SET_PIN,
        key_agreement=key_agreement,
        new_pin_enc=encrypted,
        pin_uv_param=pin.protocol.authenticate(shared, encrypted),
    )


@VERSIONS
def test_wrong_pins_lock_until_power_and_then_for_good(lab: Lab, version: int) -> None:
    lab.set_pin()
    expected = [ERR.PIN_INVALID, ERR.PIN_INVALID, ERR.PIN_AUTH_BLOCKED]
    for turn in range(2):
        for number, status in enumerate(expected):
            refused(status, lab.client_pin(version).get_pin_token, "0000")
            retries, power_cycle = lab.client_pin(version).get_pin_retries()
            assert retries == 8 - 3 * turn - number - 1
            assert bool(power_cycle) is (status is ERR.PIN_AUTH_BLOCKED)
        refused(ERR.PIN_AUTH_BLOCKED, lab.client_pin(version).get_pin_token, PIN)
        refused(ERR.PIN_AUTH_BLOCKED, lab.client_pin(version).change_pin, PIN, "31415")
        assert lab.client_pin(version).get_pin_retries()[0] == 5 - 3 * turn
        lab.device.connect()
    refused(ERR.PIN_INVALID, lab.client_pin(version).get_pin_token, "0000")
    refused(ERR.PIN_BLOCKED, lab.client_pin(version).get_pin_token, "0000")
    refused(ERR.PIN_BLOCKED, lab.client_pin(version).get_pin_token, PIN)
    lab.restart()
    refused(ERR.PIN_BLOCKED, lab.client_pin(version).get_pin_token, PIN)
    lab.ctap.reset()
    assert lab.info().options["clientPin"] is False


def test_the_right_pin_gives_all_tries_back(pin_lab: Lab) -> None:
    for _ in range(3):
        refused(ERR.PIN_INVALID, pin_lab.client_pin().get_pin_token, "0000")
        pin_lab.restart()
    pin_lab.client_pin().get_pin_token(PIN)
    assert pin_lab.client_pin().get_pin_retries()[0] == 8


def test_a_try_is_counted_before_the_pin_is_looked_at(pin_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_lost(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fidoloop.authenticator.ctap2.client_pin._pin_mac", power_lost)
        with pytest.raises(KeyboardInterrupt):
            pin_lab.client_pin().get_pin_token("0000")
    pin_lab.restart()
    assert pin_lab.client_pin().get_pin_retries()[0] == 7


def test_a_wrong_pin_makes_a_new_key_agreement_key(pin_lab: Lab) -> None:
    pin = pin_lab.client_pin()
    first = pin.ctap.client_pin(2, ClientPin.CMD.GET_KEY_AGREEMENT)[RESULT.KEY_AGREEMENT]
    assert pin.ctap.client_pin(2, ClientPin.CMD.GET_KEY_AGREEMENT)[RESULT.KEY_AGREEMENT] == first
    refused(ERR.PIN_INVALID, pin.get_pin_token, "0000")
    assert pin.ctap.client_pin(2, ClientPin.CMD.GET_KEY_AGREEMENT)[RESULT.KEY_AGREEMENT] != first


@VERSIONS
@pytest.mark.parametrize(
    ("permissions", "rp_id", "status"),
    [
        (0, RP_ID, ERR.INVALID_PARAMETER),
        (PERMISSION.MAKE_CREDENTIAL, None, ERR.MISSING_PARAMETER),
        (PERMISSION.GET_ASSERTION, None, ERR.MISSING_PARAMETER),
        (PERMISSION.GET_ASSERTION | PERMISSION.CREDENTIAL_MGMT, None, ERR.MISSING_PARAMETER),
        (PERMISSION.BIO_ENROLL, None, ERR.UNAUTHORIZED_PERMISSION),
        (PERMISSION.BIO_ENROLL | PERMISSION.MAKE_CREDENTIAL, RP_ID, ERR.UNAUTHORIZED_PERMISSION),
        (PERMISSION.CREDENTIAL_MGMT, None, None),
        (PERMISSION.AUTHENTICATOR_CFG | PERMISSION.LARGE_BLOB_WRITE, None, None),
        (PERMISSION.GET_ASSERTION, RP_ID, None),
    ],
)
def test_permissions(pin_lab: Lab, version: int, permissions: int, rp_id: str | None, status: ERR | None) -> None:
    call = pin_lab.client_pin(version).get_pin_token
    if status is None:
        call(PIN, PERMISSION(permissions), rp_id)
    else:
        refused(status, call, PIN, PERMISSION(permissions), rp_id)
        assert pin_lab.client_pin().get_pin_retries()[0] == 8


def test_the_old_way_to_a_token_takes_no_permissions(pin_lab: Lab) -> None:
    pin = pin_lab.client_pin()
    for extra in ({"permissions": 3}, {"permissions_rpid": RP_ID}):
        key_agreement, shared = pin._get_shared_secret()
        refused(
            ERR.INVALID_PARAMETER,
            pin.ctap.client_pin,
            2,
            ClientPin.CMD.GET_TOKEN_USING_PIN_LEGACY,
            key_agreement=key_agreement,
            pin_hash_enc=pin.protocol.encrypt(shared, bytes(16)),
            **extra,
        )


def proof(lab: Lab, token: bytes) -> dict[str, Any]:
    return {"pin_uv_param": lab.client_pin().protocol.authenticate(token, HASH), "pin_uv_protocol": 2}


def test_a_token_has_to_be_used_soon_and_does_not_last(pin_lab: Lab) -> None:
    made = pin_lab.make()
    silent = {"options": {"up": False}}
    token = pin_lab.token(PERMISSION.GET_ASSERTION)
    pin_lab.now += INITIAL_USE_SECONDS + 1
    refused(ERR.PIN_AUTH_INVALID, pin_lab.get, made, **proof(pin_lab, token))
    token = pin_lab.token(PERMISSION.GET_ASSERTION)
    pin_lab.now += INITIAL_USE_SECONDS - 1
    pin_lab.get(made, **silent, **proof(pin_lab, token))
    pin_lab.now += MAX_USE_SECONDS - INITIAL_USE_SECONDS
    pin_lab.get(made, **silent, **proof(pin_lab, token))
    pin_lab.now += 2
    refused(ERR.PIN_AUTH_INVALID, pin_lab.get, made, **silent, **proof(pin_lab, token))


def test_another_token_a_new_pin_or_no_power_make_a_token_void(pin_lab: Lab) -> None:
    made = pin_lab.make()
    token = pin_lab.token(PERMISSION.GET_ASSERTION)
    pin_lab.token(PERMISSION.GET_ASSERTION, version=1)
    refused(ERR.PIN_AUTH_INVALID, pin_lab.get, made, **proof(pin_lab, token))
    token = pin_lab.token(PERMISSION.GET_ASSERTION)
    pin_lab.device.connect()
    refused(ERR.PIN_AUTH_INVALID, pin_lab.get, made, **proof(pin_lab, token))
    token = pin_lab.token(PERMISSION.GET_ASSERTION)
    pin_lab.client_pin().change_pin(PIN, "31415")
    refused(ERR.PIN_AUTH_INVALID, pin_lab.get, made, **proof(pin_lab, token))


def test_built_in_verification_gives_a_token_and_counts_as_presence_for_a_while(uv_lab: Lab) -> None:
    made = uv_lab.make()
    asked = uv_lab.asked
    token = uv_lab.client_pin().get_uv_token(PERMISSION.GET_ASSERTION, RP_ID)
    assert uv_lab.get(made, **proof(uv_lab, token)).auth_data.flags == 0x05
    assert uv_lab.asked == asked + 1
    token = uv_lab.client_pin().get_uv_token(PERMISSION.GET_ASSERTION, RP_ID)
    uv_lab.get(made, options={"up": False}, **proof(uv_lab, token))
    uv_lab.now += USER_PRESENT_SECONDS + 1
    uv_lab.get(made, **proof(uv_lab, token))
    assert uv_lab.asked == asked + 3


def test_built_in_verification_is_counted(uv_lab: Lab) -> None:
    get_token = uv_lab.client_pin().get_uv_token
    uv_lab.user.answer = AuthenticatorError(CommandStatus.ACCESS_DENIED, "three wrong PINs")
    for left in (4, 3, 2, 1):
        refused(ERR.UV_INVALID, get_token, PERMISSION.GET_ASSERTION, RP_ID)
        assert uv_lab.client_pin().get_uv_retries() == left
    refused(ERR.UV_BLOCKED, get_token, PERMISSION.GET_ASSERTION, RP_ID)
    uv_lab.user.answer = None
    uv_lab.restart()
    refused(ERR.UV_BLOCKED, uv_lab.client_pin().get_uv_token, PERMISSION.GET_ASSERTION, RP_ID)
    uv_lab.set_pin()
    uv_lab.token(PERMISSION.GET_ASSERTION)
    assert uv_lab.client_pin().get_uv_retries() == 5
    uv_lab.client_pin().get_uv_token(PERMISSION.GET_ASSERTION, RP_ID)


def test_without_built_in_verification_its_subcommands_are_not_here(pin_lab: Lab) -> None:
    refused(ERR.INVALID_SUBCOMMAND, pin_lab.client_pin().get_uv_token, PERMISSION.GET_ASSERTION, RP_ID)
    refused(ERR.INVALID_SUBCOMMAND, pin_lab.client_pin().get_uv_retries)


def test_neither_pin_nor_its_hash_is_in_the_file(pin_lab: Lab) -> None:
    import hashlib

    pin_lab.token(PERMISSION.CREDENTIAL_MGMT, None)
    pin_lab.state.close()
    content = pin_lab.path.read_bytes()
    digest = hashlib.sha256(PIN.encode()).digest()[:16]
    assert digest not in content
    assert digest.hex().encode() not in content
    pin_lab.start()
