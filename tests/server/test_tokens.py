"""Tokens: dispatched, created, redeemed; and what Status says of them (HTTP contract 7 to 10)."""

import asyncio
import base64
import io
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from fidoloop.protocol import outofband
from fidoloop.server import admin
from fidoloop.server.services import status
from fidoloop.server.settings.declared import Lifetimes
from tests.server.harness import JSON, Bench, running, session_id_of
from tests.server.phone import Phone

Check = Callable[[Bench], Awaitable[None]]
SHOWN = ("png-qr-code", "link", "link-png-qr-code")


def run(home: Path, check: Check, **overrides: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **overrides) as bench:
            await check(bench)

    asyncio.run(scenario())


async def dispatch(bench: Bench, name: str = "authentication", **members: Any) -> dict[str, Any]:  # noqa: ANN401
    op = {"registration": "Reg", "authentication": "Auth", "deregistration": "Dereg"}[name]
    context = members.pop("context", {})
    body = {"getUafRequest": {"op": op, "context": json.dumps(context)}} | members
    headers: dict[str, Any] = JSON | {"user-agent": "Browser/1.0 \u00e9".encode("latin-1")}
    answer = await bench.client.post(
        f"/nevisfido/token/dispatch/{name}", content=json.dumps(body), headers=list((headers | bench.api).items())
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def target_of(bench: Bench, phone: Phone) -> str:
    found = await admin.list_targets(bench.store)
    assert phone.keys
    return found[0].id


def scan(dispatcher: str, response: str) -> outofband.Payload:
    if dispatcher == "link":
        return outofband.decode_scanned(response)
    image = Image.open(io.BytesIO(base64.b64decode(response)))
    # Of QR codes alone: now and then the lines of one look like another kind of code.
    (code,) = zxingcpp.read_barcodes(image, formats=zxingcpp.barcode_formats_from_str("QRCode"))
    return outofband.decode_scanned(code.text)


@pytest.mark.parametrize("dispatcher", SHOWN)
@pytest.mark.parametrize("encrypted", [True, False])
def test_each_dispatcher_carries_the_token_plain_or_encrypted(tmp_path: Path, dispatcher: str, encrypted: bool) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        members: dict[str, Any] = {"dispatcher": dispatcher, "dispatchInformation": {"data": {"a": "b", "token": "x"}}}
        if encrypted:
            members["dispatchTargetId"] = await target_of(bench, phone)
        answer = await dispatch(bench, **members)
        assert answer["dispatchResult"] == "dispatched"
        assert answer["dispatcherInformation"]["name"] == dispatcher
        payload = scan(dispatcher, answer["dispatcherInformation"]["response"])
        assert payload.nma_data_content_type == ("application/jose" if encrypted else "application/json")
        content = outofband.open_payload(payload, phone.encryption_key if encrypted else None)
        assert content.token == answer["token"]
        assert content.redeem_url == "https://localhost:8443/nevisfido/token/redeem/authentication"
        assert content.members["requestContext"] == {"address": "127.0.0.1", "userAgent": "Browser/1.0 "}
        assert content.members["a"] == "b"
        status = await bench.status(answer["sessionId"])
        assert status["status"] == "tokenCreated"
        assert status["tokenInformation"] == {"dispatcherInformation": answer["dispatcherInformation"]}
        assert status.get("userId") == ("jeff" if encrypted else None)

    run(tmp_path, check)


def test_a_dispatch_tells_how_long_its_steps_took(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for members, timed in (({"dispatcher": "link"}, True), ({"dispatcher": "pigeon"}, False)):
            body = {"getUafRequest": {"op": "Auth", "context": "{}"}} | members
            answer = await bench.post("/token/dispatch/authentication", body, JSON, api=True)
            header = answer.headers.get("server-timing")
            dur = r"dur=\d+\.\d{3}"
            wanted = rf"encrypt;{dur}, dispatch;{dur}, token;{dur}"
            assert bool(header and re.fullmatch(wanted, header)) is timed, header
            assert (header is None) is not timed

    run(tmp_path, check)


def test_the_largest_payload_still_scans(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        data = {"padding": "x" * 400}
        target = await target_of(bench, phone)
        answer = await dispatch(
            bench, dispatchTargetId=target, dispatcher="link-png-qr-code", dispatchInformation={"data": data}
        )
        payload = scan("png", answer["dispatcherInformation"]["response"])
        assert outofband.open_payload(payload, phone.encryption_key).token == answer["token"]
        too_much = {"data": {"padding": "x" * 4000}}
        answer = await dispatch(bench, dispatcher="png-qr-code", dispatchInformation=too_much)
        assert answer["dispatchResult"] == "dispatchError"

    run(tmp_path, check)


def test_dispatch_results_say_what_was_not_there(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        target = await target_of(bench, phone)
        nowhere = "00000000-0000-4000-8000-000000000000"
        cases: list[tuple[str, str, dict[str, Any]]] = [
            ("dispatcherNotFound", "authentication", {"dispatcher": "carrier-pigeon"}),
            ("dispatcherNotFound", "authentication", {"dispatchTargetId": target}),  # it has no default
            ("dispatchTargetNotFound", "authentication", {"dispatcher": "link", "dispatchTargetId": nowhere}),
            (
                "dispatchTargetNotFound",
                "authentication",
                {"dispatcher": "link", "dispatchTargetId": target, "context": {"username": "mia"}},
            ),
            ("userNotFound", "authentication", {"dispatcher": "link", "context": {"username": "nobody"}}),
            (
                "dispatchError",  # a plain payload carries no deregistration
                "deregistration",
                {"dispatcher": "link", "context": {"username": "jeff", "mode": "username"}},
            ),
            ("dispatched", "registration", {"dispatcher": "link", "context": {"username": "mia"}}),
            (
                "dispatched",
                "authentication",
                {"dispatcher": "link", "dispatchTargetId": target, "context": {"username": "jeff"}},
            ),
        ]
        for result, name, members in cases:
            answer = await dispatch(bench, name, **members)
            assert answer["dispatchResult"] == result, members
            assert ("token" in answer) == (result == "dispatched")
        await admin.disable_user(bench.store, "jeff", now=bench.clock())
        answer = await dispatch(bench, dispatcher="link", dispatchTargetId=target)
        assert answer["dispatchResult"] == "userNotFound"

    run(tmp_path, check)


def test_an_unused_target_expires(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        target = await target_of(bench, await bench.registered(target=True))
        bench.clock.advance(9)
        members = {"dispatcher": "link", "dispatchTargetId": target}
        assert (await dispatch(bench, **members))["dispatchResult"] == "dispatched"
        bench.clock.advance(9)
        assert (await dispatch(bench, **members))["dispatchResult"] == "dispatched"
        bench.clock.advance(10)
        assert (await dispatch(bench, **members))["dispatchResult"] == "dispatchTargetExpired"

    run(tmp_path, check, lifetimes=Lifetimes(target=10))


@pytest.mark.parametrize(
    "encoding",
    [
        {"width": 10},
        {"height": 100_000},
        {"width": "200"},
        {"foregroundColor": "red"},
        {"backgroundColor": "rgb(0, 0, 256)"},
    ],
)
def test_encoding_parameters_out_of_range_are_refused(tmp_path: Path, encoding: dict[str, Any]) -> None:
    async def check(bench: Bench) -> None:
        body = {
            "getUafRequest": {"op": "Auth", "context": "{}"},
            "dispatcher": "png-qr-code",
            "dispatchInformation": {"encodingParameters": encoding},
        }
        assert (await bench.post("/token/dispatch/authentication", body, JSON, api=True)).status_code == 400

    run(tmp_path, check)


def test_encoding_parameters_shape_the_picture(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        encoding = {
            "width": 600,
            "height": 500,
            "foregroundColor": "rgb(0, 0, 128)",
            "backgroundColor": "rgb(255,255,200)",
        }
        answer = await dispatch(bench, dispatcher="png-qr-code", dispatchInformation={"encodingParameters": encoding})
        image = Image.open(io.BytesIO(base64.b64decode(answer["dispatcherInformation"]["response"]))).convert("RGB")
        assert 250 < image.width <= 500
        assert {colour for _, colour in image.getcolors() or ()} == {(0, 0, 128), (255, 255, 200)}

    run(tmp_path, check)


def test_a_second_dispatcher_takes_the_same_token(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        first = await dispatch(bench, dispatcher="link", context={"username": "jeff"})
        again = {"dispatcher": "png-qr-code", "sessionId": first["sessionId"]}
        second = await dispatch(bench, context={"username": "jeff"}, **again)
        assert (second["token"], second["sessionId"]) == (first["token"], first["sessionId"])
        for other in ({"username": "mia"}, {"username": "jeff", "policy": "pin_only"}, {}):
            third = await dispatch(bench, context=other, **again)
            assert third["sessionId"] != first["sessionId"]
            assert third["token"] != first["token"]
        request = json.loads((await bench.redeem(first["token"]))["uafRequest"])[0]
        fourth = await dispatch(bench, context={"username": "jeff"}, **again)
        assert fourth["token"] != first["token"]
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200

    run(tmp_path, check)


def test_redeem_failures_are_uaf_codes_and_change_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await bench.registered()
        before = await bench.state()
        token = (await dispatch(bench, dispatcher="link"))["token"]
        assert (await bench.redeem("nothing"))["statusCode"] == 1404
        assert (await bench.redeem(token, "registration"))["statusCode"] == 1400
        assert (await bench.redeem(token))["statusCode"] == 1200
        assert await bench.redeem(token) == {"statusCode": 1403}
        late = await dispatch(bench, dispatcher="link")
        bench.clock.advance(120)
        assert (await bench.redeem(late["token"]))["statusCode"] == 1408
        status = await bench.status(late["sessionId"])
        assert status["status"] == "failed"
        assert status["tokenInformation"]["tokenResult"] == "tokenTimedOut"
        assert await bench.state() == before

    run(tmp_path, check)


def test_redeeming_starts_the_clock_of_the_response(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        answer = await dispatch(bench, dispatcher="link")
        bench.clock.advance(119)
        returned = await bench.redeem(answer["token"])
        assert returned["lifetimeMillis"] == 120_000
        bench.clock.advance(119)
        status = await bench.status(answer["sessionId"])
        assert status["status"] == "clientAuthenticating"
        assert status["tokenInformation"]["tokenResult"] == "tokenRedeemed"
        response = phone.authenticate(json.loads(returned["uafRequest"])[0])
        assert (await bench.respond("Auth", response))["statusCode"] == 1200

    run(tmp_path, check)


def test_a_target_makes_the_log_in_its_users(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered("jeff", target=True)
        hers = await bench.registered("mia")
        answer = await dispatch(bench, dispatcher="link", dispatchTargetId=await target_of(bench, phone))
        request = json.loads((await bench.redeem(answer["token"]))["uafRequest"])[0]
        assert request["policy"]["accepted"] == [[{"aaid": [phone.model.aaid], "keyIDs": [phone.keys[0].text]}]]
        assert (await bench.respond("Auth", hers.authenticate(request)))["statusCode"] == 1498

    run(tmp_path, check)


def test_create_token_answers_token_and_session(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = Phone(bench.full)
        headers = {"content-type": "application/fido+uaf; charset=utf-8", "accept": "application/json"}
        body = {"op": "Reg", "context": '{"username":"jeff"}'}
        created = (await bench.post("/token/create/registration/", body, headers, api=True)).json()
        assert created.keys() == {"token", "sessionId"}
        request = json.loads((await bench.redeem(created["token"], "registration"))["uafRequest"])[0]
        assert (await bench.status(created["sessionId"]))["status"] == "clientRegistering"
        assert (await bench.respond("Reg", phone.register(request)))["statusCode"] == 1200
        body["context"] = '{"username":"nobody"}'
        assert (await bench.post("/token/create/registration", body, headers, api=True)).status_code == 400

    run(tmp_path, check)


def test_a_deregistration_by_token_deletes_at_once(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        target = await target_of(bench, phone)
        context = {"username": "jeff", "mode": "aaid", "aaids": [phone.model.aaid.lower()]}
        answer = await dispatch(bench, "deregistration", dispatcher="link", dispatchTargetId=target, context=context)
        assert len((await bench.state())["credential"]) == 1
        request = json.loads((await bench.redeem(answer["token"], "deregistration"))["uafRequest"])[0]
        assert request["authenticators"] == [{"aaid": phone.model.aaid, "keyID": phone.keys[0].text}]
        assert session_id_of(request) == answer["sessionId"]
        assert (await bench.state())["credential"] == []
        assert (await bench.status(answer["sessionId"]))["status"] == "succeeded"

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("context", "code"),
    [
        ({"username": "jeff", "mode": "username"}, 1200),
        ({"username": "jeff", "mode": "aaid", "aaids": ["F1D0#0001"]}, 1200),
        ({"username": "jeff", "mode": "aaid", "aaids": ["F1D0#0007"]}, 1404),
        ({"username": "jeff", "mode": "aaid"}, 1400),
        ({"username": "jeff", "mode": "keyid"}, 1400),
        ({"username": "jeff", "mode": "keyid", "authenticators": [{"aaid": "F1D0#0001", "keyID": "nope"}]}, 1481),
        ({"username": "mia", "mode": "username"}, 1404),
        ({"username": "nobody", "mode": "username"}, 1400),
        ({"username": "jeff", "mode": "all"}, 1400),
    ],
)
def test_deregistration_modes(tmp_path: Path, context: dict[str, Any], code: int) -> None:
    async def check(bench: Bench) -> None:
        await bench.registered()
        before = await bench.state()
        open_login = await bench.uaf_request("Auth", {"username": "jeff"})
        returned = await bench.request("Dereg", context)
        assert returned["statusCode"] == code
        if code != 1200:
            assert await bench.state() == before
            return
        assert (await bench.state())["credential"] == []
        # What was open for the key is closed with it.
        assert (await bench.status(session_id_of(open_login)))["status"] == "failed"

    run(tmp_path, check)


def test_a_user_without_a_fitting_key_cannot_step_up(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert (await bench.request("Auth", {"username": "jeff"}))["statusCode"] == 1492
        answer = await dispatch(bench, dispatcher="link", context={"username": "jeff"})
        assert (await bench.redeem(answer["token"]))["statusCode"] == 1492
        status = await bench.status(answer["sessionId"])
        assert (status["status"], status["uafStatusCode"]) == ("failed", 1492)

    run(tmp_path, check)


def test_the_clients_codes_reach_status(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        request = await bench.uaf_request("Auth", {}, api=False)
        answer = await bench.respond("Auth", phone.give_up(request), {"asmStatusCode": 3, "clientErrorCode": 3})
        assert answer["statusCode"] == 1498
        status = await bench.status(session_id_of(request))
        assert (status["status"], status["asmStatusCode"], status["clientErrorCode"]) == ("failed", 3, 3)

    run(tmp_path, check)


def test_status_of_an_unknown_session_and_its_timestamp(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        assert await bench.status("nothing") == {"status": "unknown", "timestamp": "2026-09-21T14:13:20.000Z"}

    run(tmp_path, check)


def test_the_stream_tells_every_step_to_the_end(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        dispatched = await dispatch(bench, dispatcher="link")
        body = {"sessionId": dispatched["sessionId"]}
        following = asyncio.create_task(bench.post("/status/stream", body, {"content-type": "application/json"}))
        await asyncio.sleep(0)
        request = json.loads((await bench.redeem(dispatched["token"]))["uafRequest"])[0]
        await bench.respond("Auth", phone.authenticate(request))
        answer = await following
        assert answer.headers["content-type"] == "text/event-stream"
        events = [block.split("\n") for block in answer.text.strip().split("\n\n")]
        assert all(event == "event: status" for event, _ in events)
        final = json.loads(events[-1][1].removeprefix("data: "))
        assert final == await bench.status(dispatched["sessionId"])
        assert final["status"] == "succeeded"

    run(tmp_path, check)


def test_a_change_that_comes_while_an_event_is_on_its_way_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "ASK_AGAIN_SECONDS", 3600.0)

    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        dispatched = await dispatch(bench, dispatcher="link")
        session_id = dispatched["sessionId"]

        async def read() -> tuple[str, bool]:
            found = await status.read_status(bench.environment, session_id)
            return found.status, found.status == "succeeded"

        following = status.follow(bench.environment, session_id, read)
        assert await anext(following) == ("status", "tokenCreated")
        request = json.loads((await bench.redeem(dispatched["token"]))["uafRequest"])[0]
        assert await anext(following) == ("status", "clientAuthenticating")
        await bench.respond("Auth", phone.authenticate(request))
        assert [event async for event in following] == [("status", "succeeded")]

    run(tmp_path, check)
