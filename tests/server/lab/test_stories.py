"""What the lab keeps of a session: its states and its messages, decoded; so many and so large and no more."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import jose
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server.errors import StoreError
from fidoloop.server.lab import changes, stories
from fidoloop.server.lab.decoding import readable
from fidoloop.server.lab.stories import NO_SESSION, Change, Fault, Message, Stories
from tests.server.harness import JSON, UAF, Bench, session_id_of
from tests.server.lab.visitor import LabVisitor, in_the_lab, lab_of
from tests.server.test_device_services import ask
from tests.server.test_openapi import every_fido2_service
from tests.server.test_targets import make
from tests.server.test_tokens import dispatch, target_of
from tests.server.web.visitor import answer_link, redeem, visiting

Check = Callable[[Bench, LabVisitor], Awaitable[None]]


def run(home: Path, check: Check, **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with in_the_lab(home, **options) as (bench, visitor):
            await check(bench, visitor)

    asyncio.run(scenario())


def names(node: dict[str, Any]) -> list[str]:
    return [node["name"], *(name for child in node.get("children", ()) for name in names(child))]


def leaves(node: dict[str, Any]) -> int:
    """How many bytes the leaves and the headers before children cover."""
    children = node.get("children", ())
    if not children:
        return int(node["length"])
    header = 4 if node.get("tag") is not None else 0
    return header + sum(leaves(child) for child in children)


def test_a_log_in_is_told_from_dispatch_to_success(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered(target=True)
        sent = await dispatch(bench, dispatcher="link", dispatchTargetId=await target_of(bench, phone))
        session_id = sent["sessionId"]
        assert await visitor.states(session_id) == ["tokenCreated"]
        request = await redeem(bench, sent["token"])
        assert await visitor.states(session_id) == ["tokenCreated", "clientAuthenticating"]
        for _ in range(3):
            await bench.status(session_id)
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        assert await visitor.states(session_id) == ["tokenCreated", "clientAuthenticating", "succeeded"]
        told = [
            (message["path"].rpartition("nevisfido")[2], message["status"])
            for message in await visitor.messages(session_id)
        ]
        assert told == [
            ("/token/dispatch/authentication", 200),
            ("/token/redeem/authentication", 200),
            ("/status", 200),
            ("/uaf/1.1/authentication", 200),
        ]
        dispatched, redeemed, asked, answered = await visitor.messages(session_id)
        assert asked["times"] == 3
        header = dispatched["answer"]["dispatcherInformation"]["response"]["JWE header"]
        assert (header["enc"], header["alg"]) == ("A256GCM", "ECDH-ES+A256KW")
        (issued,) = redeemed["answer"]["uafRequest"]
        assert issued["challenge"] == request["challenge"]
        assert issued["header"]["appID"] == bench.config.app_id
        assert issued["policy"] == request["policy"]
        (response,) = answered["request"]["uafResponse"]
        assert response["fcParams"]["challenge"] == request["challenge"]
        assert response["fcParams"]["facetID"]
        tree = response["assertions"][0]["assertion"]
        assert {"UAFV1_AUTH_ASSERTION", "SIGNATURE", "KEYID", "COUNTERS"} <= set(names(tree))
        assert leaves(tree) == tree["length"] > 0
        assert answered["answer"]["statusCode"] == "1200 OK"
        assert answered["answer"]["description"]["message"] == "OK. Operation completed."
        assert (await visitor.post("/lab/session", {"id": session_id})).json()["payload"]["JWE header"]["alg"]

    run(tmp_path, check)


def test_a_registration_is_told_with_its_policy_and_key(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered(target=True)
        (session,) = await changes.listed(bench.environment, lab_of(bench))
        assert (session.op, session.username, session.state) == ("Reg", "jeff", "succeeded")
        asked, answered = await visitor.messages(session.id)
        criterion = asked["answer"]["uafRequest"][0]["policy"]["accepted"][0][0]
        assert criterion["authenticationAlgorithms"][0] == "1 SECP256R1_ECDSA_SHA256_RAW"
        assert "UAFV1_REG_ASSERTION" in names(answered["request"]["uafResponse"][0]["assertions"][0]["assertion"])
        shown = await visitor.overview()
        assert [user["username"] for user in shown["users"]] == ["jeff", "mia"]
        (key,) = shown["keys"]
        assert (key["username"], key["key"]["keyId"]) == ("jeff", phone.keys[0].text)
        assert key["key"]["description"] == bench.full.metadata()["description"]
        (target,) = shown["targets"]
        assert (target["name"], target["username"]) == ("my phone", "jeff")

    run(tmp_path, check)


def test_a_refusal_is_told_with_its_status(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        request = await bench.uaf_request("Auth", {"username": "jeff"})
        answer = await bench.respond("Auth", phone.give_up(request), {"asmStatusCode": 3, "clientErrorCode": 3})
        session_id = session_id_of(request)
        assert await visitor.states(session_id) == ["clientAuthenticating", "failed"]
        last = [entry for entry in await visitor.story(session_id) if entry["kind"] == "change"][-1]
        assert last["uafStatusCode"] == f"{answer['statusCode']} {StatusCode(answer['statusCode']).name}"
        assert (last["asmStatusCode"], last["clientErrorCode"]) == ("3 USER_CANCELLED", "3 USER_CANCELLED")

    run(tmp_path, check)


def test_time_that_runs_out_is_told_when_somebody_watches(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        sent = await dispatch(bench, dispatcher="link")
        bench.clock.advance(121)
        watched = changes.follow(bench.environment, lab_of(bench))
        event = await anext(watched)
        assert event is not None
        shown = json.loads(event[1])
        assert (event[0], shown["id"], shown["state"]) == ("session", sent["sessionId"], "failed")
        assert [change["state"] for change in shown["changes"]] == ["tokenCreated", "failed"]
        assert shown["changes"][1]["uafStatusCode"] == 1408

    run(tmp_path, check)


def test_a_browsers_log_in_is_told_by_its_operation(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        async with visiting(bench) as somebody:
            begun = await somebody.begin()
            await answer_link(bench, begun["link"], phone)
            assert await somebody.finish(begun["id"]) == 200
        listed = await changes.listed(bench.environment, lab_of(bench))
        (session,) = [session for session in listed if session.op == "Auth"]
        paths = [message["path"] for message in await visitor.messages(session.id)]
        assert paths[0] == "/web/login"
        assert "/nevisfido/token/redeem/authentication" in paths
        assert await visitor.states(session.id) == ["tokenCreated", "clientAuthenticating", "succeeded"]

    run(tmp_path, check)


def test_what_belongs_to_no_session_stands_apart(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        phone = await bench.registered()
        target = await make(bench, phone, deviceId="device 1")
        answer = await ask(bench, "operations", target, phone.signature_key)
        assert jose.decrypt_compact(answer.text, phone.encryption_key)
        await bench.status("unheard of")
        await bench.post("/no/such/path", {"token": "x"}, JSON)
        await bench.post("/uaf/1.1/request/registration", {"op": "Reg", "context": "{}"}, UAF)
        made, asked, unknown, refused = await visitor.messages(NO_SESSION)
        assert (made["method"], made["status"]) == ("POST", 201)
        assert asked["path"].endswith("/devices/operations/device 1")
        assert asked["answer"]["JWE header"]["enc"] == "A256GCM"
        assert unknown["answer"]["status"] == "unknown"
        assert (refused["status"], refused["answer"]["detail"]) == (401, "an API credential is needed")

    run(tmp_path, check)


def test_what_a_passkey_signs_is_taken_apart(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: LabVisitor) -> None:
        async def call(method: str, path: str, body: Any = None, **options: Any) -> Any:  # noqa: ANN401 - JSON
            content = json.dumps(body) if isinstance(body, dict) else body
            headers = options.get("headers", JSON) | (bench.api if options.get("api", True) else {})
            return (await bench.client.request(method, path, content=content, headers=headers)).json()

        await every_fido2_service(call)
        told = [message for message in await visitor.messages(NO_SESSION) if message["status"] == 200]
        (made,) = [one for one in told if one["path"] == "/nevisfido/fido2/attestation/result"]
        response = made["request"]["response"]
        assert response["clientDataJSON"]["type"] == "webauthn.create"
        assert response["attestationObject"]["authData"]["credentialId"]
        (used,) = [one for one in told if one["path"] == "/nevisfido/fido2/assertion/result"]
        assert used["request"]["response"]["authenticatorData"]["flags"].startswith("0x")
        assert "UP" in used["request"]["response"]["authenticatorData"]["flags"]

    run(tmp_path, check)


@pytest.mark.parametrize("value", ["AA", "not base64url!", 5, None])
def test_what_cannot_be_taken_apart_is_shown_as_it_is(value: object) -> None:
    request = dict.fromkeys(("attestationObject", "authenticatorData", "userVerification"), value)
    shown = readable(message(**request))
    assert shown["request"] == request | ({"userVerification": "5 PRESENCE|PASSCODE"} if value == 5 else {})


def test_bytes_that_are_no_assertion_are_still_named() -> None:
    tree = readable(message(assertion="AAAA"))["request"]["assertion"]
    assert (tree["length"], bool(tree["problem"])) == (3, True)


def test_a_store_that_fails_while_recording_does_not_fail_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreError("gone")

    async def check(bench: Bench, visitor: LabVisitor) -> None:
        monkeypatch.setattr("fidoloop.server.lab.recording.keep", fail)
        assert (await dispatch(bench, dispatcher="link"))["dispatchResult"] == "dispatched"
        assert "a message could not be recorded" in caplog.text

    run(tmp_path, check)


def message(**members: Any) -> Message:  # noqa: ANN401 - JSON
    return Message(at=0, method="POST", path="/x", status=200, request=members, answer=None)


def test_of_one_session_so_much_is_kept() -> None:
    kept = Stories()
    for number in range(stories.MAX_ENTRIES + 5):
        kept.add_message("one", message(op=number))
    story = kept.of("one")
    assert (len(story.entries), story.dropped) == (stories.MAX_ENTRIES, 5)
    first = story.entries[0]
    assert isinstance(first, Message)
    assert first.request == {"op": 0}


def test_of_no_session_the_newest_are_kept() -> None:
    kept = Stories()
    for number in range(stories.MAX_ENTRIES + 5):
        kept.add_message(NO_SESSION, message(op=number))
    story = kept.of(NO_SESSION)
    last = story.entries[-1]
    assert len(story.entries) == stories.MAX_ENTRIES
    assert isinstance(last, Message)
    assert last.request == {"op": stories.MAX_ENTRIES + 4}


def test_the_oldest_session_makes_room() -> None:
    kept = Stories()
    for number in range(stories.MAX_STORIES + 1):
        kept.add_change(str(number), Change(0, "tokenCreated"))
    assert not kept.of("0").entries
    assert kept.of("1").entries


def test_a_large_message_is_cut_and_many_push_out_the_oldest() -> None:
    kept = Stories()
    kept.add_message("large", message(op="x" * stories.MAX_MESSAGE_CHARACTERS))
    (cut,) = kept.of("large").entries
    assert isinstance(cut, Message)
    assert str(cut.request).startswith("[too large to be kept")
    size = stories.MAX_MESSAGE_CHARACTERS - 200
    for number in range(stories.MAX_CHARACTERS // size + 2):
        kept.add_message(str(number), message(op="x" * size, number=number))
    assert not kept.of("large").entries
    assert not kept.of("0").entries
    assert kept.of("3").entries


def test_only_as_many_requests_are_remembered() -> None:
    kept = Stories()
    for number in range(stories.MAX_REQUESTS + 1):
        kept.request_seen(str(number), f"session {number}")
    assert kept.session_of_request("0") is None
    assert kept.session_of_request("1") == "session 1"


def test_the_same_message_is_counted_and_the_same_state_is_not_told_twice() -> None:
    kept = Stories()
    kept.add_message("one", message(op=1))
    kept.add_message("one", message(op=1))
    kept.add_change("one", Change(0, "tokenCreated"))
    kept.add_change("one", Change(5, "tokenCreated"))
    kept.add_fault("one", Fault(6, "replay", "words"))
    kept.add_message("one", message(op=1))
    told = [entry.times if isinstance(entry, Message) else type(entry) for entry in kept.of("one").entries]
    assert told == [2, Change, Fault, 1]
