"""The dispatcher firebase-cloud-messaging against a stand-in that checks what Google documents."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import outofband
from fidoloop.server import admin
from fidoloop.server.config import ServerConfig
from fidoloop.server.dispatchers.configured import make_dispatchers
from fidoloop.server.errors import SettingError
from fidoloop.server.settings.declared import Fcm as FcmSettings
from tests.bridge.stub import Reply, stub
from tests.server.fcm import PROJECT, REGISTERED, Fcm, failure, service_account
from tests.server.harness import BASE, JSON, Bench, running
from tests.server.phone import Phone
from tests.server.test_targets import change, make, patch
from tests.server.test_tokens import dispatch

NAME = "firebase-cloud-messaging"
BROKEN = b'{"access_token":"a\\r\\nb","expires_in":9}'
Check = Callable[[Bench], Awaitable[None]]


@pytest.fixture
def fcm() -> Iterator[Fcm]:
    double = Fcm()
    with stub(double) as service:
        double.url = service.url
        yield double


def run(home: Path, fcm: Fcm, check: Check, *, seconds: int = 8, **settings: Any) -> None:  # noqa: ANN401 - any
    path = service_account(home / "account.json", f"{fcm.url}/token")
    usual = FcmSettings(service_account=str(path), endpoint=fcm.url, **settings)

    async def scenario() -> None:
        async with running(home, dispatchers=("link", NAME), fcm=usual, push_seconds=seconds) as bench:
            await check(bench)

    asyncio.run(scenario())


async def reached(bench: Bench, token: str = REGISTERED) -> tuple[Phone, str]:
    phone = await bench.registered()
    return phone, await make(bench, phone, dispatcher=NAME, target=token)


def test_a_message_is_as_fcm_documents_it(tmp_path: Path, fcm: Fcm) -> None:
    async def check(bench: Bench) -> None:
        phone, target = await reached(bench)
        information = {"notification": {"title": "Log in?", "body": "at the lab"}, "data": {"a": {"b": 1}}}
        answer = await dispatch(bench, dispatchTargetId=target, dispatchInformation=information)
        assert answer["dispatchResult"] == "dispatched", answer
        response = f"sent as projects/{PROJECT}/messages/0:1"
        assert answer["dispatcherInformation"] == {"name": NAME, "response": response}
        (message,) = fcm.sent
        assert message["token"] == REGISTERED
        assert message["notification"] == {"title": "Log in?", "body": "at the lab"}
        assert message["android"] == {"priority": "HIGH", "ttl": "120s", "collapse_key": "authentication"}
        assert message["data"].keys() == {"nma_data", "nma_data_content_type", "nma_data_version"}
        payload = outofband.Payload(**message["data"])
        assert payload.nma_data_content_type == "application/jose"
        content = outofband.open_payload(payload, phone.encryption_key)
        assert (content.token, content.members["a"]) == (answer["token"], {"b": 1})
        assert fcm.dry == [False]
        # Without a notification it is a message for the app alone; the access token is still good.
        assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"
        assert "notification" not in fcm.sent[1]
        assert len(fcm.granted) == 1

    run(tmp_path, fcm, check)


def test_a_dry_run_delivers_nothing_and_says_so(tmp_path: Path, fcm: Fcm) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        answer = await dispatch(bench, dispatchTargetId=target)
        assert answer["dispatcherInformation"]["response"].startswith("dry run, accepted as projects/")
        assert fcm.dry == [True]

    run(tmp_path, fcm, check, dry_run=True)


def test_many_messages_at_once_take_one_access_token(tmp_path: Path, fcm: Fcm) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        answers = await asyncio.gather(*(dispatch(bench, dispatchTargetId=target) for _ in range(10)))
        assert {answer["dispatchResult"] for answer in answers} == {"dispatched"}
        assert (len(fcm.sent), len(fcm.granted)) == (10, 1)

    run(tmp_path, fcm, check)


def test_an_access_token_that_is_refused_is_got_anew(tmp_path: Path, fcm: Fcm) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        fcm.faults = [failure(401, "UNAUTHENTICATED")]
        assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"
        assert (fcm.calls, len(fcm.granted)) == (2, 2)

    run(tmp_path, fcm, check)


def test_a_registration_token_that_is_gone_expires_its_target(tmp_path: Path, fcm: Fcm) -> None:
    async def check(bench: Bench) -> None:
        phone, target = await reached(bench, "some-old-token")
        assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatchTargetExpired"
        assert await dispatch(bench, dispatchTargetId=target) == {"dispatchResult": "dispatchTargetExpired"}
        assert fcm.calls == 1
        fresh = change(bench, target, target=REGISTERED)
        assert await patch(bench, target, fresh, phone.signature_key) == 204
        assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"

    run(tmp_path, fcm, check)


def test_unregistered_clients_are_removed_where_that_is_configured(tmp_path: Path, fcm: Fcm) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench, "some-old-token")
        answer = await dispatch(bench, dispatchTargetId=target)
        assert answer["dispatchResult"] == "dispatchTargetExpired"
        assert await admin.list_targets(bench.store) == []
        assert await dispatch(bench, dispatchTargetId=target) == {"dispatchResult": "dispatchTargetNotFound"}
        # Its token was nobody's to redeem.
        assert (await bench.status(answer["sessionId"]))["status"] == "failed"

    run(tmp_path, fcm, check, remove_unregistered_clients=True)


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (failure(500, "INTERNAL", "INTERNAL"), 2),
        (failure(503, "UNAVAILABLE", "UNAVAILABLE", Retry_After="0"), 2),
        (failure(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", Retry_After="0"), 2),
        (Reply(502, {"Content-Length": "6"}, b"<html>"), 2),
    ],
    ids=["500", "503", "429", "502"],
)
def test_what_may_pass_is_tried_again(tmp_path: Path, fcm: Fcm, fault: Reply, calls: int) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        fcm.faults = [fault]
        assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"
        assert fcm.calls == calls

    run(tmp_path, fcm, check)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (failure(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), "quota"),
        (failure(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", Retry_After="600"), "quota"),
        (failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "no such\ntoken"), "INVALID_ARGUMENT): no such?token"),
        (failure(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "SENDER_ID_MISMATCH"),
        (failure(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), "THIRD_PARTY_AUTH_ERROR"),
        # Another server's 404 says nothing of a registration token.
        (Reply(404, {"Content-Length": "6"}, b"<html>"), "refused the message (404"),
        (Reply(302, {"Location": "https://elsewhere.example", "Content-Length": "0"}), "refused the message (302"),
        (Reply(200, {"Content-Length": "2"}, b"[]"), "nothing readable"),
    ],
    ids=["quota", "quota for long", "argument", "sender", "third party", "404", "redirect", "200"],
)
def test_what_will_not_pass_is_not_repeated(tmp_path: Path, fcm: Fcm, fault: Reply, words: str) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        fcm.faults = [fault]
        answer = await dispatch(bench, dispatchTargetId=target)
        assert answer["dispatchResult"] == "dispatchError"
        assert words in answer["dispatcherInformation"]["response"]
        assert fcm.calls == 1
        assert (await dispatch(bench, dispatchTargetId=target))["dispatchResult"] == "dispatched"

    run(tmp_path, fcm, check)


@pytest.mark.parametrize(
    ("faults", "result", "words"),
    [
        ([Reply(503, {"Content-Length": "0"})], "dispatched", "sent"),
        ([Reply(400, {"Content-Length": "25"}, b'{"error":"invalid_grant"}')], "dispatchError", "invalid_grant"),
        ([Reply(200, {"Content-Length": "2"}, b"{}")], "dispatchError", "nothing readable"),
        ([Reply(200, {"Content-Length": "39"}, BROKEN)], "dispatchError", "nothing readable"),
        ([Reply(302, {"Content-Length": "0"})], "dispatchError", "nothing readable"),
    ],
    ids=["busy", "refused", "empty", "line break", "redirect"],
)
def test_the_token_service_may_fail_too(tmp_path: Path, fcm: Fcm, faults: list[Reply], result: str, words: str) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        fcm.token_faults = list(faults)
        answer = await dispatch(bench, dispatchTargetId=target)
        assert answer["dispatchResult"] == result, answer
        assert words in answer["dispatcherInformation"]["response"]

    run(tmp_path, fcm, check)


@pytest.mark.parametrize(
    "information",
    [
        {"notification": "hello"},
        {"notification": {"title": 5}},
        {"notification": {"title": "x" * 257}},
        {"notification": {"title": "x", "image": "https://elsewhere.example/"}},
        {"data": []},
    ],
)
def test_dispatch_information_that_fcm_would_not_take_is_malformed(
    tmp_path: Path, fcm: Fcm, information: dict[str, Any]
) -> None:
    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        request = {"op": "Auth", "context": "{}"}
        body = {"getUafRequest": request, "dispatchTargetId": target, "dispatchInformation": information}
        answer = await bench.post("/token/dispatch/authentication", body, JSON, api=True)
        assert answer.status_code == 400
        assert fcm.calls == 0

    run(tmp_path, fcm, check)


def test_a_payload_that_does_not_fit_a_registration_and_no_address_are_refused(tmp_path: Path, fcm: Fcm) -> None:
    async def check(bench: Bench) -> None:
        phone, target = await reached(bench)
        much = {"data": {"much": "x" * 4000}}
        answer = await dispatch(bench, dispatchTargetId=target, dispatchInformation=much)
        assert answer["dispatchResult"] == "dispatchError"
        assert "takes 4096" in answer["dispatcherInformation"]["response"]
        request = {"getUafRequest": {"op": "Reg", "context": '{"username":"jeff"}'}, "dispatchTargetId": target}
        assert (await bench.post("/token/dispatch/registration", request, JSON, api=True)).status_code == 400
        for address, code in (("", 422), ("two words", 400), ("\u00e9", 400), ("a\nb", 400)):
            body = phone.target("other", username="jeff", dispatcher=NAME, target=address)
            assert (await bench.post("/token/dispatch/targets", body, JSON, api=True)).status_code == code
        assert fcm.calls == 0

    run(tmp_path, fcm, check)


def test_fcm_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    double = Fcm()
    with stub(double) as service:
        double.url = service.url

    async def check(bench: Bench) -> None:
        _, target = await reached(bench)
        answer = await dispatch(bench, dispatchTargetId=target)
        assert answer["dispatchResult"] == "dispatchError"
        assert "does not answer" in answer["dispatcherInformation"]["response"]

    run(tmp_path, double, check, seconds=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "authorized_user"}, r"\$\.type"),
        ({"project_id": "../x"}, r"\$\.project_id"),
        ({"client_email": None}, "client_email"),
        ({"private_key": "none"}, "private_key is no private key"),
        ({"token_uri": "http://oauth.example/token"}, "token_uri"),
    ],
)
def test_a_service_account_that_cannot_be_used_stops_the_start(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    path = service_account(tmp_path / "a.json", "https://oauth.example/token", **changes)
    config = ServerConfig(
        home=tmp_path, base_url=BASE, dispatchers=("firebase-cloud-messaging",), fcm=FcmSettings(str(path))
    )
    with pytest.raises(SettingError, match=words) as refused:
        make_dispatchers(config)
    assert refused.value.name == "fcm.service_account"
    assert "PRIVATE" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (FcmSettings(), "fcm.service_account"),
        (FcmSettings("a", endpoint="http://fcm.example"), "fcm.endpoint"),
        (FcmSettings("a", endpoint="ftp://fcm.example"), "fcm.endpoint"),
        (FcmSettings("a", token_uri="http://fcm.example"), "fcm.token_uri"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, settings: FcmSettings, name: str) -> None:
    with pytest.raises(SettingError) as refused:
        ServerConfig(home=tmp_path, base_url=BASE, dispatchers=("firebase-cloud-messaging",), fcm=settings)
    assert refused.value.name == name
    missing = ServerConfig(
        home=tmp_path, base_url=BASE, dispatchers=("firebase-cloud-messaging",), fcm=FcmSettings("/no/such/file")
    )
    with pytest.raises(SettingError, match="No such file"):
        make_dispatchers(missing)
