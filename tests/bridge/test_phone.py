"""The phone against a server of the test's own, which says whatever it likes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.user_verification import AutoApprove, Deny, UserVerifier
from fidoloop.bridge.errors import (
    BridgeError,
    ClientFailureError,
    MalformedPayloadError,
    NetworkError,
    ServerRefusedError,
    TokenExpiredError,
    TokenRedeemedError,
    UserDeclinedError,
)
from fidoloop.bridge.http import JSON_MEDIA_TYPE, UAF_MEDIA_TYPE
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.phone import Phone, Result
from fidoloop.bridge.profile import Profile
from fidoloop.hsm.keystore import EcHardwareKey, KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.protocol import base64url, jose, outofband, strictjson
from fidoloop.protocol.uaf.registry import UserVerification
from fidoloop.protocol.uaf.status import ClientError
from tests.authenticator.conftest import NOW
from tests.bridge.stub import Asked, Reply, Stub, stub
from tests.lab import Lab

AAID = "F10B#0193"  # surrogate, raw, no verification
CHALLENGE = base64url.encode(bytes(64))
TARGET = "a dispatch target"


@pytest.fixture(scope="module")
def store(fidoloop_make_token: Callable[[], str]) -> Iterator[KeyStore]:
    with open_key_store(fidoloop_make_token()) as opened:
        attest_init(opened, now=NOW)
        yield opened


def request(op: str, username: str = "alice", **more: Any) -> str:  # noqa: ANN401  # members of a JSON object
    header = {"upv": {"major": 1, "minor": 1}, "op": op, "serverData": "data", **more.pop("header", {})}
    body: dict[str, Any] = {"header": header, "challenge": CHALLENGE, "policy": {"accepted": [[{"aaid": [AAID]}]]}}
    if op == "Reg":
        body["username"] = username
    if op == "Dereg":
        body = {"header": header, "authenticators": [{"aaid": AAID, "keyID": ""}]}
    return json.dumps([{**body, **more}])


@dataclass
class Script:
    """What the server answers: to a redeemed token, and to the response that follows."""

    redeemed: dict[str, Any] = field(default_factory=dict)
    answered: dict[str, Any] | Reply = field(default_factory=lambda: {"statusCode": 1200})
    deleted: int = 204

    def __call__(self, asked: Asked) -> Reply:
        if asked.method == "DELETE":
            return Reply(self.deleted)
        if "/request/" in asked.path or "/redeem/" in asked.path:
            return uaf(self.redeemed)
        return self.answered if isinstance(self.answered, Reply) else uaf(self.answered)


def uaf(body: dict[str, Any]) -> Reply:
    return Reply(200, {"Content-Type": UAF_MEDIA_TYPE}, json.dumps(body).encode())


@dataclass
class World:
    """A server that follows a script, and a phone."""

    script: Script
    web: Stub
    phone: Phone
    store: KeyStore

    def token(self, operation: str) -> str:
        url = f"{self.web.url}/nevisfido/token/redeem/{operation}"
        return outofband.qr_text(outofband.encode_payload({"token": "the token", "redeem_url": url}, None))

    def answers(self, uaf_request: str, status: int = 1200) -> None:
        self.script.redeemed = {"statusCode": status, "uafRequest": uaf_request}

    def enrol(self, username: str = "alice") -> Result:
        self.answers(request("Reg", username))
        self.script.answered = {
            "statusCode": 1200,
            "description": json.dumps({"message": "OK", "dispatchTargetId": TARGET}),
        }
        result = self.phone.register(self.token("registration"))
        self.script.answered = {"statusCode": 1200}
        return result

    def sent(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Path, UAF response and context of what was sent last."""
        asked = self.web.asked[-1]
        body = json.loads(asked.body)
        (response,) = json.loads(body["uafResponse"])
        return asked.path.removeprefix("/nevisfido"), response, json.loads(body.get("context", "{}"))

    def ids(self) -> set[bytes]:
        return {info.key_id for info in self.store.list()}


@pytest.fixture
def make(store: KeyStore, tmp_path: Path) -> Iterator[Callable[..., World]]:
    closing: list[Any] = []

    def world(
        verifier: UserVerifier | None = None,
        *,
        confirm: Callable[[DispatchedToken], bool] = lambda _: True,
        before: World | None = None,
    ) -> World:
        script = before.script if before else Script()
        if before is None:
            running = stub(script)
            web = running.__enter__()
            closing.append(lambda: running.__exit__(None, None, None))
            profile = Profile(tmp_path / f"{len(closing)}.sqlite")
            profile.create(keys_uri="pkcs11:", verification="auto", ca=None)
            closing.append(profile.close)
        else:
            web, profile = before.web, before.phone._profile
        phone = Phone(profile, store, verifier or AutoApprove(), confirm=confirm, insecure=True)
        closing.append(phone.close)
        return World(script, web, phone, store)

    yield world
    for close in reversed(closing):
        close()


def test_a_phone_enrols_and_logs_in(make: Callable[..., World]) -> None:
    world = make()
    enrolled = world.enrol()
    path, response, context = world.sent()
    assert (path, response["header"]["serverData"]) == ("/uaf/1.1/registration", "data")
    assert context["dispatchTarget"]["name"] == "phone"
    assert not {"d", "p", "q"} & json.loads(json.dumps(context["dispatchTarget"]["encryptionKey"])).keys()
    world.answers(request("Auth"))
    assert world.phone.scan(world.token("authentication")).keys == enrolled.keys
    assert world.sent()[0] == "/uaf/1.1/authentication"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (1408, TokenExpiredError),
        (1403, TokenRedeemedError),
        (1404, ServerRefusedError),
        (1400, ServerRefusedError),
        (1500, ServerRefusedError),
    ],
)
def test_each_way_a_token_is_not_redeemed_is_told_apart(
    make: Callable[..., World], status: int, error: type[ServerRefusedError]
) -> None:
    world = make()
    world.enrol()
    world.script.redeemed = {"statusCode": status}
    with pytest.raises(error) as refused:
        world.phone.scan(world.token("authentication"))
    assert refused.value.status == status
    assert type(refused.value) is error


@pytest.mark.parametrize("answered", ["Reg", "Dereg"])
def test_a_token_leads_to_its_own_operation_only(make: Callable[..., World], answered: str) -> None:
    world = make()
    world.enrol()
    before = world.ids()
    world.answers(request(answered))
    with pytest.raises(ServerRefusedError, match=f"authentication token led to a {answered}"):
        world.phone.scan(world.token("authentication"))
    assert world.ids() == before


def test_a_token_for_another_command_is_not_even_redeemed(make: Callable[..., World]) -> None:
    world = make()
    world.enrol()
    count = len(world.web.asked)
    for act, operation in (
        (world.phone.scan, "registration"),
        (world.phone.confirm, "deregistration"),
        (world.phone.deregister, "authentication"),
        (world.phone.register, "authentication"),
    ):
        with pytest.raises(MalformedPayloadError, match=f"a token for {operation}"):
            act(world.token(operation))
    assert len(world.web.asked) == count


MUST = [{"id": "nobody.knows", "data": "", "fail_if_unknown": True}]


@pytest.mark.parametrize("op", ["Reg", "Auth"])
def test_what_the_client_cannot_do_reaches_the_server_in_its_codes(make: Callable[..., World], op: str) -> None:
    world = make()
    world.enrol()
    before = world.ids()
    header = {"exts": MUST}
    world.answers(request(op, header=header))
    act, operation = (world.phone.register, "registration") if op == "Reg" else (world.phone.scan, "authentication")
    with pytest.raises(ClientFailureError) as failure:
        act(world.token(operation))
    assert failure.value.error is ClientError.PROTOCOL_ERROR
    path, response, context = world.sent()
    assert path == f"/uaf/1.1/{operation}"
    assert response["assertions"] == []
    assert response["header"] == json.loads(request(op, header=header))[0]["header"]
    assert context == {"clientErrorCode": 6}
    assert world.ids() == before


def test_the_asms_status_is_sent_beside_the_clients_code(make: Callable[..., World]) -> None:
    world = make()
    world.enrol()
    refusing = make(Deny(UserVerification.NONE), before=world)
    world.answers(request("Auth"))
    with pytest.raises(ClientFailureError):
        refusing.phone.scan(world.token("authentication"))
    assert world.sent()[2] == {"clientErrorCode": 3, "asmStatusCode": 3}


@pytest.mark.parametrize("answer", [Reply(500), Reply(200, {}, b"<html>")], ids=["500", "garbled"])
def test_a_failure_the_server_does_not_take_is_still_the_failure_told(
    make: Callable[..., World], answer: Reply
) -> None:
    world = make()
    world.enrol()
    world.script.answered = answer
    refusing = make(Deny(UserVerification.NONE), before=world)
    world.answers(request("Auth"))
    with pytest.raises(ClientFailureError, match="USER_CANCELLED"):
        refusing.phone.scan(world.token("authentication"))
    declining = make(before=world, confirm=lambda _: False)
    with pytest.raises(UserDeclinedError):
        declining.phone.scan(world.token("authentication"))


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, json.dumps([]), request("Auth", header={"upv": {"major": 1, "minor": 2}})]
)
def test_a_request_that_cannot_be_read_is_not_answered(make: Callable[..., World], text: str) -> None:
    world = make()
    world.enrol()
    world.answers(text)
    count = len(world.web.asked)
    with pytest.raises((ClientFailureError, ServerRefusedError)):
        world.phone.scan(world.token("authentication"))
    assert len(world.web.asked) == count + 1


REFUSALS: list[dict[str, Any] | Reply] = [
    {"statusCode": 1498, "description": json.dumps({"message": "no"})},
    {"statusCode": 1498, "description": "[" * 100_000},
    {"statusCode": 1202},
    Reply(500),
    Reply(200, {"Content-Type": JSON_MEDIA_TYPE}, b"nonsense"),
]


@pytest.mark.parametrize("answered", REFUSALS, ids=["1498", "deep", "1202", "500", "garbled"])
def test_a_registration_the_server_does_not_take_leaves_no_key(
    make: Callable[..., World], answered: dict[str, Any] | Reply
) -> None:
    world = make()
    before = world.ids()
    world.answers(request("Reg"))
    world.script.answered = answered
    with pytest.raises(ServerRefusedError):
        world.phone.register(world.token("registration"))
    assert world.ids() == before
    assert (world.phone.accounts(), world.phone.asm.registrations()) == ([], [])


@pytest.mark.parametrize("description", [None, "", "null", "[]", "{}", "nonsense", '{"message":1}'])
def test_a_description_nobody_can_read_does_no_harm(make: Callable[..., World], description: str | None) -> None:
    world = make()
    world.enrol()
    world.answers(request("Auth"))
    world.script.answered = {"statusCode": 1200} | ({} if description is None else {"description": description})
    assert world.phone.scan(world.token("authentication")).status == 1200


def test_of_two_accounts_the_newest_logs_in_and_only_its_key_is_reported(make: Callable[..., World]) -> None:
    world = make()
    first = world.enrol("alice")
    second = world.enrol("bob")
    world.answers(request("Auth"))
    assert world.phone.login().keys == second.keys
    renewed = world.enrol("alice")
    world.answers(request("Auth"))
    assert world.phone.login().keys == renewed.keys
    assert len({first.keys, second.keys, renewed.keys}) == 3


def test_enrolling_again_keeps_the_dispatch_target(make: Callable[..., World]) -> None:
    world = make()
    world.enrol()
    (account,) = world.phone.accounts()
    world.enrol()
    assert "dispatchTarget" not in world.sent()[2]
    assert world.phone.accounts() == [account]


def test_a_server_that_names_no_target_gets_new_keys_in_place_of_the_old(make: Callable[..., World]) -> None:
    world = make()
    before = world.ids()
    for _ in range(2):
        world.answers(request("Reg"))
        world.phone.register(world.token("registration"))
    (account,) = world.phone.accounts()
    registered = {entry.key_id for entry in world.phone.asm.registrations()}
    assert len(registered) == 2
    assert world.ids() - before == registered | {account.signature_key_id, account.encryption_key_id}


@pytest.mark.parametrize("status", [204, 404])
def test_removing_an_account_is_signed_for_one_request(make: Callable[..., World], status: int) -> None:
    world = make()
    before = world.ids()
    enrolled = world.enrol()
    world.script.deleted = status
    (account,) = world.phone.accounts()
    assert account.signature_key_id is not None
    held = world.store.key(account.signature_key_id)
    assert isinstance(held, EcHardwareKey)
    key = jose.public_jwk(held.public_key())
    assert world.phone.remove(account) == enrolled.keys
    asked = world.web.asked[-1]
    claims = strictjson.loads(jose.verify_compact(asked.headers["device-signature"], key))
    assert isinstance(claims, dict)
    assert (asked.method, claims["method"], claims["path"]) == ("DELETE", "DELETE", unquote(asked.path))
    assert claims["dispatchTargetId"] == TARGET
    assert (world.ids(), world.phone.accounts()) == (before, [])


def test_an_accounts_keys_go_even_where_the_server_does_not_listen(make: Callable[..., World]) -> None:
    world = make()
    before = world.ids()
    for error in (ServerRefusedError, NetworkError):
        world.enrol()
        (account,) = world.phone.accounts()
        world.script.deleted = 500
        if error is NetworkError:
            world.web.answer = silence
        with pytest.raises(error):
            world.phone.remove(account)
        assert (world.ids(), world.phone.accounts(), world.phone.asm.registrations()) == (before, [], [])


def silence(_: Asked) -> Reply:
    raise ConnectionAbortedError


def test_a_dispatched_deregistration_has_no_response(make: Callable[..., World]) -> None:
    world = make()
    enrolled = world.enrol()
    world.answers(request("Dereg"))
    count = len(world.web.asked)
    assert world.phone.deregister(world.token("deregistration")).keys == enrolled.keys
    assert len(world.web.asked) == count + 1
    assert world.phone.asm.registrations() == []


def test_every_error_of_the_bridge_has_a_code_of_its_own() -> None:
    def family(kind: type[BridgeError]) -> list[type[BridgeError]]:
        return [kind, *(one for sub in kind.__subclasses__() for one in family(sub))]

    codes = [kind.code for kind in family(BridgeError)]
    assert len(set(codes)) == len(codes)


def test_a_real_server_hears_of_an_unsuitable_policy(fidoloop_lab: Lab) -> None:
    phone, username = fidoloop_lab.enrolled(verification="auto", verifier=AutoApprove())
    sent = fidoloop_lab.laptop.dispatch(dispatcher="link", policy="pin_only")
    with pytest.raises(ClientFailureError) as failure:
        phone.scan(sent.response)
    assert failure.value.error is ClientError.NO_SUITABLE_AUTHENTICATOR
    final = fidoloop_lab.laptop.status(sent.session_id)
    assert (final.status, final.clientErrorCode) == ("failed", ClientError.NO_SUITABLE_AUTHENTICATOR)
    assert username
