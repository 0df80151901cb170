"""Pushes from the log-in page: to the default device, alike whoever is named, one open and five in ten minutes."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import outofband
from fidoloop.server import admin
from fidoloop.server.dispatchers.web_push import WebPushDispatcher
from fidoloop.server.http.secure_headers import SecureHeaders
from fidoloop.server.settings.declared import WebPush
from tests.bridge.stub import Reply, Stub, stub
from tests.server.harness import BASE, Bench, running
from tests.server.phone import Phone
from tests.server.subscriber import Subscriber
from tests.server.web.visitor import Visitor, redeem, visiting

CREATED = Reply(201, {"Content-Length": "0"})
GONE = Reply(404, {"Content-Length": "0"})


class Postbox:
    """A push service, and the one subscription at it."""

    def __init__(self, service: Stub) -> None:
        self.service = service
        self.subscriber = Subscriber(f"{service.url}/push")

    def fail(self) -> None:
        self.service.answer = lambda _: GONE

    async def received(self, bench: Bench, phone: Phone) -> outofband.NmaData:
        """Open the one push that comes of what was answered already."""
        await pushed(bench)
        (asked,) = self.service.asked
        self.service.asked.clear()
        payload = outofband.decode_payload(self.subscriber.read(asked.body))
        return outofband.open_payload(payload, phone.encryption_key)


async def pushed(bench: Bench) -> None:
    """Wait for what is done after the answers."""
    await asyncio.gather(*bench.environment.tasks)


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    with stub(lambda _: CREATED) as service:
        yield Postbox(service)


Check = Callable[[Bench, Visitor], Awaitable[None]]


def run(home: Path, check: Check) -> None:
    settings: dict[str, Any] = {"insecure": True, "web_push": WebPush(networks=("127.0.0.0/8",))}

    async def scenario() -> None:
        async with running(home, **settings) as bench, visiting(bench) as visitor:
            await check(bench, visitor)

    asyncio.run(scenario())


async def reachable(
    bench: Bench, postbox: Postbox, username: str = "jeff", name: str = "my phone", **more: object
) -> Phone:
    """A phone that pushes reach."""
    phone = Phone(bench.full)
    request = await bench.uaf_request("Reg", {"username": username})
    target = phone.target(name, dispatcher="web-push", target=postbox.subscriber.target) | more
    answer = await bench.respond("Reg", phone.register(request), {"dispatchTarget": target})
    assert answer["statusCode"] == 1200, answer
    return phone


async def confirm(bench: Bench, phone: Phone, token: str, number: str) -> int:
    """Answer as the phone of a user who types `number`."""
    request = await redeem(bench, token)
    answer = await bench.respond("Auth", phone.authenticate(request), {"channelLinkingResponse": number})
    return int(answer["statusCode"])


def test_a_push_reaches_the_device_and_logs_its_user_in(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)
        begun = await visitor.begin("push", username="jeff")
        assert set(begun) == {"id", "now", "number"}
        content = await postbox.received(bench, phone)
        assert content.token not in json.dumps(begun)
        assert content.members["requestContext"]["address"] == "127.0.0.1"
        assert content.members["channelLinking"] == {"mode": "number", "digits": 2}
        assert (await visitor.state(begun["id"]))["state"] == "waiting"
        assert await confirm(bench, phone, content.token, begun["number"]) == 1200
        assert await visitor.finish(begun["id"]) == 200
        assert await visitor.who() == "jeff"

    run(tmp_path, check)


def test_of_several_devices_the_one_used_last_is_asked_and_none_that_no_push_reaches(
    tmp_path: Path, postbox: Postbox
) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phones = []
        for name, dispatcher in (("old", "web-push"), ("new", "web-push"), ("newest", "link")):
            bench.clock.advance(1)
            phones.append(await reachable(bench, postbox, name=name, dispatcher=dispatcher))
        await visitor.begin("push", username="jeff")
        await postbox.received(bench, phones[1])

    run(tmp_path, check)


def test_a_push_for_one_user_logs_no_other_in(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone, other = await reachable(bench, postbox), await reachable(bench, postbox, "mia")
        begun = await visitor.begin("push", username="jeff")
        content = await postbox.received(bench, phone)
        assert await confirm(bench, other, content.token, begun["number"]) != 1200
        assert await visitor.state(begun["id"]) == {"state": "failed", "reason": "refused"}
        assert await visitor.finish(begun["id"]) == 403

    run(tmp_path, check)


EVERYWHERE = {name.decode("ascii") for name, _ in SecureHeaders(BASE).always}
BUSY = "this user was asked already, or too often; wait a little, or scan the code"
WHO = ["reachable", "without a device", "disabled", "unheard of", "<img src=x onerror=alert(1)>", "push fails"]


async def seen_by_who_asks(bench: Bench, visitor: Visitor, username: str) -> list[Any]:
    """All that a browser is told of pushes to a user, up to their ends, what is random left out."""
    seen: list[Any] = []
    for _ in range(2):
        answer = await visitor.post("/web/login", {"by": "push", "username": username})
        body = answer.json()
        operation, number = body.pop("id", ""), body.pop("number", "")
        headers = {name for name in answer.headers if name not in {"x-request-id", *EVERYWHERE}}
        seen += [answer.status_code, sorted(headers), body, len(operation), len(number)]
        await pushed(bench)
        seen.append(await visitor.state(operation) if operation else None)
        bench.clock.advance(60)
    bench.clock.advance(60)
    return [*seen, await visitor.state(operation) if operation else None]


@pytest.mark.parametrize("who", WHO)
def test_the_answer_is_the_same_whoever_is_named(tmp_path: Path, who: str, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        username = {"reachable": "jeff", "push fails": "jeff", "disabled": "mia", "without a device": "mia"}.get(
            who, who
        )
        await reachable(bench, postbox)
        if who == "disabled":
            await admin.disable_user(bench.store, "mia", now=bench.clock())
        if who == "push fails":
            postbox.fail()
        begun_at, deadline = bench.clock(), bench.clock() + 120_000
        told = ["content-length", "content-type", "set-cookie"]
        refused = ["content-length", "content-type", "retry-after"]
        problem = {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": BUSY}
        assert await seen_by_who_asks(bench, visitor, username) == [
            *(200, told, {"now": begun_at}, 36, 2, {"state": "waiting", "deadline": deadline}),
            *(429, refused, problem, 0, 0, None),
            None,
        ]
        assert len(postbox.service.asked) == (1 if who in ("reachable", "push fails") else 0)

    run(tmp_path, check)


def test_one_push_is_open_at_a_time_and_its_end_makes_room_for_the_next(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)

        async def asked() -> int:
            async with visiting(bench) as another:
                return (await another.post("/web/login", {"by": "push", "username": "jeff"})).status_code

        begun = await visitor.begin("push", username="jeff")
        assert await asked() == 429
        token = (await postbox.received(bench, phone)).token
        assert await asked() == 429
        assert await confirm(bench, phone, token, begun["number"]) == 1200
        second = await visitor.begin("push", username="jeff")
        assert second["id"] != begun["id"]
        await visitor.post("/web/operation/cancel", {"id": second["id"]})
        assert await asked() == 200
        bench.clock.advance(119)
        assert await asked() == 429
        bench.clock.advance(1)
        assert await asked() == 200

    run(tmp_path, check)


def test_at_most_five_pushes_reach_a_user_in_ten_minutes(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await reachable(bench, postbox)

        async def ask() -> int:
            answer = await visitor.post("/web/login", {"by": "push", "username": "jeff"})
            if answer.status_code == 200:
                await visitor.post("/web/operation/cancel", {"id": answer.json()["id"]})
            bench.clock.advance(100)
            return answer.status_code

        assert [await ask() for _ in range(6)] == [200] * 5 + [429]
        # The first is ten minutes ago, the others are not.
        assert [await ask() for _ in range(2)] == [200, 200]
        assert (await visitor.post("/web/login", {"by": "push", "username": "mia"})).status_code == 200

    run(tmp_path, check)


def test_of_many_who_ask_at_once_one_gets_through(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await reachable(bench, postbox)
        wanted = {"by": "push", "username": "jeff"}
        answers = await asyncio.gather(*(visitor.post("/web/login", wanted) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] + [429] * 7
        await pushed(bench)
        assert len(postbox.service.asked) == 1

    run(tmp_path, check)


@pytest.mark.parametrize("body", [{"by": "push"}, {"by": "push", "username": ""}, {"by": "pigeon"}, {}, []])
def test_what_asks_for_no_log_in_is_refused(tmp_path: Path, body: object) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        answer = await visitor.post("/web/login", body)
        assert answer.status_code == 400
        assert "set-cookie" not in answer.headers

    run(tmp_path, check)


def test_work_after_an_answer_that_fails_is_logged(
    tmp_path: Path, postbox: Postbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await reachable(bench, postbox)

        async def break_down(*_: object) -> str:
            raise ZeroDivisionError

        monkeypatch.setattr(WebPushDispatcher, "dispatch", break_down)
        await visitor.begin("push", username="jeff")
        with pytest.raises(ZeroDivisionError):
            await pushed(bench)
        assert "unexpected error after an answer" in caplog.text

    run(tmp_path, check)


def test_three_wrong_numbers_end_the_log_in(tmp_path: Path, postbox: Postbox) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await reachable(bench, postbox)
        begun = await visitor.begin("push", username="jeff")
        wrong = f"{(int(begun['number']) + 1) % 100:02}"
        request = await redeem(bench, (await postbox.received(bench, phone)).token)
        for left in (2, 1, 0):
            assert (await visitor.state(begun["id"]))["state"] == "redeemed"
            answer = await bench.respond("Auth", phone.authenticate(request), {"channelLinkingResponse": wrong})
            assert (answer["statusCode"], json.loads(answer["description"])["triesLeft"]) == (1498, left)
        assert await visitor.state(begun["id"]) == {"state": "failed", "reason": "refused"}

    run(tmp_path, check)
