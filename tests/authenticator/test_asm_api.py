"""The ASM API as a client sees it: JSON in, JSON out, over real tokens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.asm_api import AsmApi
from fidoloop.authenticator.errors import (
    AsmError,
    AuthenticatorError,
    CommandStatus,
    asm_status_of_command,
    asm_status_of_key_store,
    command_status,
)
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove, Deny, Prompt, UserVerifier
from fidoloop.hsm import errors as hsm
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.protocol.uaf.status import AsmStatus
from tests.authenticator.conftest import APP_ID, FACET, FC_PARAMS

V1_1, V1_0 = {"major": 1, "minor": 1}, {"major": 1, "minor": 0}
FULL = int(AttestationType.BASIC_FULL)
REGISTER = {"appID": APP_ID, "username": "jeff", "finalChallenge": FC_PARAMS, "attestationType": FULL}
AUTHENTICATE = {"appID": APP_ID, "finalChallenge": FC_PARAMS}
UNKNOWN_KEY = base64url.encode(bytes(32))
Json = Any


@pytest.fixture
def api(asm: Asm) -> AsmApi:
    return AsmApi([asm])


def api_with(store: KeyStore, state: AuthenticatorState, verifier: UserVerifier) -> AsmApi:
    return AsmApi([Asm(store, state, verifier, caller_id=FACET)])


def request(kind: str, args: Json = None, **more: Json) -> str:
    asked = {"requestType": kind, "asmVersion": V1_1, "authenticatorIndex": 0} | (
        {} if args is None else {"args": args}
    )
    return json.dumps({name: value for name, value in (asked | more).items() if value is not None})


def ask(api: AsmApi, kind: str, args: Json = None, **more: Json) -> Json:
    answer = json.loads(api.request(request(kind, args, **more)))
    assert answer["statusCode"] == AsmStatus.OK
    assert set(answer) <= {"statusCode", "responseData"}
    return answer.get("responseData")


def status(api: AsmApi, text: str) -> AsmStatus:
    answer = json.loads(api.request(text))
    assert set(answer) == {"statusCode"}
    return AsmStatus(answer["statusCode"])


def register(api: AsmApi, **more: Json) -> str:
    out = ask(api, "Register", REGISTER | more.pop("args", {}), **more)
    return base64url.encode(parse_registration_assertion(base64url.decode(out["assertion"])).key_id)


def test_get_info_tells_everything_an_authenticator_must(api: AsmApi, asm: Asm) -> None:
    out = ask(api, "GetInfo", asmVersion=None, authenticatorIndex=None)
    assert set(out) == {"Authenticators"}
    assert [info["aaid"] for info in out["Authenticators"]] == list(asm.authenticators)
    assert out["Authenticators"][0] == {
        "authenticatorIndex": 0,
        "asmVersions": [V1_1, V1_0],
        "isUserEnrolled": True,
        "hasSettings": False,
        "aaid": "F10B#0113",
        "assertionScheme": "UAFV1TLV",
        "authenticationAlgorithm": 1,
        "attestationTypes": [FULL],
        "userVerification": 0x200,
        "keyProtection": 1,
        "matcherProtection": 1,
        "attachmentHint": 1,
        "isSecondFactorOnly": False,
        "isRoamingAuthenticator": False,
        "supportedExtensionIDs": [],
        "tcDisplay": 0,
        "title": "fidoloop",
        "description": "fidoloop SoftHSM token, P-256, no verification",
    }


def test_a_display_has_a_content_type(store: KeyStore, state: AuthenticatorState) -> None:
    info = ask(api_with(store, state, Prompt(lambda _: True)), "GetInfo")["Authenticators"][0]
    assert (info["tcDisplay"], info["tcDisplayContentType"]) == (1, "text/plain")


@pytest.mark.parametrize("version", [V1_1, V1_0])
def test_register_authenticate_and_deregister(api: AsmApi, version: Json) -> None:
    out = ask(api, "Register", REGISTER, asmVersion=version)
    assert out["assertionScheme"] == "UAFV1TLV"
    registered = parse_registration_assertion(base64url.decode(out["assertion"]))
    assert registered.final_challenge_hash == final_challenge_hash(FC_PARAMS)
    key_id = base64url.encode(registered.key_id)
    out = ask(api, "Authenticate", AUTHENTICATE | {"keyIDs": [key_id]}, asmVersion=version)
    assert parse_authentication_assertion(base64url.decode(out["assertion"])).key_id == registered.key_id
    assert ask(api, "GetRegistrations", asmVersion=version) == {"appRegs": [{"appID": APP_ID, "keyIDs": [key_id]}]}
    assert ask(api, "Deregister", {"appID": APP_ID, "keyID": key_id}, asmVersion=version) is None
    assert ask(api, "GetRegistrations", asmVersion=version) == {"appRegs": []}


def test_an_authenticator_without_keys_has_an_empty_list_of_registrations_and_says_if_a_user_is_enrolled(
    api: AsmApi,
) -> None:
    """The conformance tool's case 254."""
    assert ask(api, "GetRegistrations") == {"appRegs": []}
    assert all(type(info["isUserEnrolled"]) is bool for info in ask(api, "GetInfo")["Authenticators"])


def test_registrations_are_listed_by_application_and_authenticator_for_their_caller_only(
    api: AsmApi, store: KeyStore, state: AuthenticatorState
) -> None:
    first, other, second = register(api), register(api, args={"appID": "https://b.example"}), register(api)
    register(api, authenticatorIndex=1)
    assert ask(api, "GetRegistrations")["appRegs"] == [
        {"appID": APP_ID, "keyIDs": [first, second]},
        {"appID": "https://b.example", "keyIDs": [other]},
    ]
    stranger = AsmApi([Asm(store, state, AutoApprove(), caller_id="android:apk-key-hash:other")])
    assert ask(stranger, "GetRegistrations") == {"appRegs": []}
    named = AUTHENTICATE | {"keyIDs": [first]}
    assert status(stranger, request("Authenticate", named)) is AsmStatus.ACCESS_DENIED
    assert status(stranger, request("Deregister", {"appID": APP_ID, "keyID": first})) is AsmStatus.ACCESS_DENIED
    assert status(api, request("Authenticate", named | {"appID": "https://b.example"})) is AsmStatus.ACCESS_DENIED


def test_keys_that_are_unknown_are_denied_and_one_that_vanished_has_disappeared(api: AsmApi, store: KeyStore) -> None:
    assert status(api, request("Authenticate", AUTHENTICATE)) is AsmStatus.ACCESS_DENIED
    key_id = register(api)
    unknown = AUTHENTICATE | {"keyIDs": [UNKNOWN_KEY]}
    assert status(api, request("Authenticate", unknown)) is AsmStatus.ACCESS_DENIED
    store.delete(base64url.decode(key_id))
    gone = AUTHENTICATE | {"keyIDs": [key_id]}
    assert status(api, request("Authenticate", gone)) is AsmStatus.KEY_DISAPPEARED_PERMANENTLY


def test_an_empty_key_id_deregisters_all_of_the_application_from_1_1_on(api: AsmApi) -> None:
    register(api), register(api)
    elsewhere = register(api, args={"appID": "https://b.example"})
    everything = {"appID": APP_ID, "keyID": ""}
    assert status(api, request("Deregister", everything, asmVersion=V1_0)) is AsmStatus.ERROR
    ask(api, "Deregister", everything)
    assert ask(api, "GetRegistrations")["appRegs"] == [{"appID": "https://b.example", "keyIDs": [elsewhere]}]
    ask(api, "Deregister", {"appID": APP_ID, "keyID": UNKNOWN_KEY})


def test_of_several_accounts_the_user_chooses(store: KeyStore, state: AuthenticatorState) -> None:
    offered: list[str] = []

    def choose(usernames: Sequence[str]) -> int:
        offered.extend(usernames)
        return 0

    api = api_with(store, state, Prompt(lambda _: True, choose))
    keys = [register(api, args={"username": name}) for name in ("jeff", "ann")]
    out = ask(api, "Authenticate", AUTHENTICATE)
    assert offered == ["jeff", "ann"]
    assert base64url.encode(parse_authentication_assertion(base64url.decode(out["assertion"])).key_id) == keys[0]


def test_of_several_renderings_the_one_for_this_display_is_shown(store: KeyStore, state: AuthenticatorState) -> None:
    api = api_with(store, state, Prompt(lambda _: True))
    register(api)
    png = {"contentType": "image/png", "content": base64url.encode(b"\x89PNG\r\n\x1a\n")}
    text = {"contentType": "text/plain", "content": base64url.encode(b"Pay 5")}
    out = ask(api, "Authenticate", AUTHENTICATE | {"transaction": [png, text]})
    signed = parse_authentication_assertion(base64url.decode(out["assertion"]))
    assert signed.authentication_mode == 2
    refused = request("Authenticate", AUTHENTICATE | {"transaction": [png]})
    assert status(api, refused) is AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT


def test_several_key_stores_stand_behind_one_asm(
    store: KeyStore, bare_store: KeyStore, state: AuthenticatorState, tmp_path: Path
) -> None:
    other_state = AuthenticatorState(tmp_path / "other.sqlite", bare_store)
    asms = [
        Asm(store, state, AutoApprove(), caller_id=FACET),
        Asm(bare_store, other_state, AutoApprove(), caller_id=FACET),
    ]
    api = AsmApi(asms)
    infos = ask(api, "GetInfo")["Authenticators"]
    assert [info["authenticatorIndex"] for info in infos] == list(range(len(infos)))
    aaids = [info["aaid"] for info in infos]
    second = len(asms[0].authenticators)
    assert aaids == [*asms[0].authenticators, *asms[1].authenticators]
    assert {info["attestationTypes"][0] for info in infos[second:]} == {int(AttestationType.BASIC_SURROGATE)}
    surrogate = {"attestationType": int(AttestationType.BASIC_SURROGATE)}
    key_id = register(api, args=surrogate, authenticatorIndex=second)
    assert base64url.decode(key_id) in {info.key_id for info in bare_store.list()}
    assert ask(api, "GetRegistrations", authenticatorIndex=aaids.index(aaids[second])) == {"appRegs": []}
    assert ask(api, "GetRegistrations", authenticatorIndex=second)["appRegs"][0]["keyIDs"] == [key_id]
    other_state.close()


@pytest.mark.parametrize("kind", ["Register", "Authenticate", "Deregister", "GetRegistrations", "OpenSettings"])
def test_version_and_index_must_be_there_and_known(api: AsmApi, kind: str) -> None:
    args = {"Register": REGISTER, "Authenticate": AUTHENTICATE, "Deregister": {"appID": APP_ID, "keyID": ""}}.get(kind)
    for version in (None, {"major": 1, "minor": 2}, {"major": 2, "minor": 0}, {"major": 0, "minor": 0}):
        assert status(api, request(kind, args, asmVersion=version)) is AsmStatus.ERROR
    assert status(api, request(kind, args, authenticatorIndex=None)) is AsmStatus.ERROR
    disconnected = AsmStatus.AUTHENTICATOR_DISCONNECTED
    count = len(ask(api, "GetInfo")["Authenticators"])
    assert status(api, request(kind, args, authenticatorIndex=count)) is disconnected
    assert status(AsmApi([]), request(kind, args)) is disconnected


def test_there_are_no_settings_to_open(api: AsmApi) -> None:
    assert status(api, request("OpenSettings")) is AsmStatus.ERROR


@pytest.mark.parametrize("kind", ["GetInfo", "GetRegistrations"])
def test_an_extension_that_must_be_understood_is_an_error_any_other_is_ignored(api: AsmApi, kind: str) -> None:
    marked = [{"id": "nobody.knows", "data": "", "fail_if_unknown": True}]
    assert status(api, request(kind, exts=marked)) is AsmStatus.ERROR
    ask(api, kind, exts=[{"id": "nobody.knows", "data": "", "fail_if_unknown": False}])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * 1000,
        '{"requestType":"GetInfo","requestType":"GetInfo"}',
        '{"requestType":"Dance"}',
        '{"requestType":"GetInfo","asmVersion":null}',
        " " * (1 << 17) + '{"requestType":"GetInfo"}',
        request("Register"),
        request("Register", {}),
        request("Register", REGISTER | {"username": ""}),
        request("Register", REGISTER | {"username": "j" * 129}),
        request("Register", REGISTER | {"appID": "a" * 513}),
        request("Register", REGISTER | {"appID": None}),
        request("Register", REGISTER | {"attestationType": 65536}),
        request("Register", REGISTER | {"attestationType": int(AttestationType.BASIC_SURROGATE)}),
        request("Register", REGISTER | {"finalChallenge": ""}),
        request("Register", REGISTER | {"finalChallenge": "c" * 16385}),
        request("Authenticate", AUTHENTICATE | {"keyIDs": []}),
        request("Authenticate", AUTHENTICATE | {"keyIDs": ["+"]}),
        request("Authenticate", AUTHENTICATE | {"keyIDs": UNKNOWN_KEY}),
        request("Authenticate", AUTHENTICATE | {"transaction": []}),
        request("Deregister", {"appID": APP_ID}),
        request("Deregister", {"appID": APP_ID, "keyID": "="}),
    ],
    ids=range(25),
)
def test_what_is_no_request_is_an_error(api: AsmApi, store: KeyStore, text: str) -> None:
    keys = len(store.list())
    assert status(api, text) is AsmStatus.ERROR
    assert len(store.list()) == keys


def test_the_users_refusal_is_told(store: KeyStore, state: AuthenticatorState) -> None:
    assert status(api_with(store, state, Deny()), request("Register", REGISTER)) is AsmStatus.USER_CANCELLED


@given(
    st.one_of(
        st.text(max_size=40),
        st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5).map(json.dumps),
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_text_raises_anything(api: AsmApi, text: str) -> None:
    assert json.loads(api.request(text))["statusCode"] == AsmStatus.ERROR


COMMAND_TO_ASM = {
    CommandStatus.OK: (AsmStatus.OK, AsmStatus.OK),
    CommandStatus.ERR_UNKNOWN: (AsmStatus.ERROR, AsmStatus.ERROR),
    CommandStatus.ACCESS_DENIED: (AsmStatus.ACCESS_DENIED, AsmStatus.ACCESS_DENIED),
    CommandStatus.USER_NOT_ENROLLED: (AsmStatus.USER_NOT_ENROLLED, AsmStatus.ACCESS_DENIED),
    CommandStatus.CANNOT_RENDER_TRANSACTION_CONTENT: (AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT,) * 2,
    CommandStatus.USER_CANCELLED: (AsmStatus.USER_CANCELLED, AsmStatus.USER_CANCELLED),
    CommandStatus.CMD_NOT_SUPPORTED: (AsmStatus.ERROR, AsmStatus.ERROR),
    CommandStatus.ATTESTATION_NOT_SUPPORTED: (AsmStatus.ERROR, AsmStatus.ERROR),
    CommandStatus.PARAMS_INVALID: (AsmStatus.ERROR, AsmStatus.ERROR),
    CommandStatus.KEY_DISAPPEARED_PERMANENTLY: (AsmStatus.KEY_DISAPPEARED_PERMANENTLY,) * 2,
    CommandStatus.TIMEOUT: (AsmStatus.ERROR, AsmStatus.ERROR),
    CommandStatus.USER_NOT_RESPONSIVE: (AsmStatus.USER_NOT_RESPONSIVE, AsmStatus.USER_NOT_RESPONSIVE),
    CommandStatus.INSUFFICIENT_RESOURCES: (AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES,) * 2,
    CommandStatus.USER_LOCKOUT: (AsmStatus.USER_LOCKOUT, AsmStatus.USER_LOCKOUT),
}


@pytest.mark.parametrize("command", list(CommandStatus), ids=lambda status: status.name)
def test_every_command_status_has_its_asm_status_when_registering_and_when_signing(command: CommandStatus) -> None:
    registering, signing = (asm_status_of_command(command, signing=signing) for signing in (False, True))
    assert (registering, signing) == COMMAND_TO_ASM[command]


@pytest.mark.parametrize(
    ("error", "command", "asm"),
    [
        (hsm.KeyGone("k"), CommandStatus.KEY_DISAPPEARED_PERMANENTLY, AsmStatus.KEY_DISAPPEARED_PERMANENTLY),
        (hsm.TokenFull("k"), CommandStatus.INSUFFICIENT_RESOURCES, AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES),
        (hsm.PinLocked("k"), CommandStatus.USER_LOCKOUT, AsmStatus.USER_LOCKOUT),
        (hsm.PinRequired("k"), CommandStatus.ACCESS_DENIED, AsmStatus.ACCESS_DENIED),
        (hsm.DeviceTimeout("k"), CommandStatus.TIMEOUT, AsmStatus.ERROR),
        (hsm.TokenAbsent("k"), CommandStatus.ERR_UNKNOWN, AsmStatus.AUTHENTICATOR_DISCONNECTED),
        (hsm.KeyStoreError("k"), CommandStatus.ERR_UNKNOWN, AsmStatus.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_key_hardware_refuses(error: hsm.KeyStoreError, command: CommandStatus, asm: AsmStatus) -> None:
    assert (command_status(error), asm_status_of_key_store(error)) == (command, asm)


def test_errors_say_status_and_detail() -> None:
    assert "PARAMS_INVALID: why" in str(AuthenticatorError(CommandStatus.PARAMS_INVALID, "why"))
    assert "ERROR: why" in str(AsmError(AsmStatus.ERROR, "why"))
