"""Number matching, and what a BLE station hands out: made, kept out of the payload, compared (HTTP contract 8)."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import outofband
from fidoloop.server import admin
from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Count
from tests.server.harness import JSON, Bench, running
from tests.server.phone import Phone, Twist

Check = Callable[[Bench], Awaitable[None]]
NUMBER = {"channelLinking": {"mode": "number", "digits": 2}}
BLE = {"channelLinking": {"mode": "ble"}}


def run(home: Path, check: Check, database: str = "") -> None:
    async def scenario() -> None:
        async with running(home, database=database) as bench:
            await check(bench)

    asyncio.run(scenario())


async def dispatched(bench: Bench, information: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:  # noqa: ANN401
    (target,) = await admin.list_targets(bench.store)
    body = {
        "getUafRequest": {"op": "Auth", "context": "{}"},
        "dispatcher": "link",
        "dispatchTargetId": target.id,
        "dispatchInformation": NUMBER if information is None else information,
    }
    answer = await bench.post("/token/dispatch/authentication", body | members, JSON, api=True)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def payload(answer: dict[str, Any], phone: Phone) -> dict[str, Any]:
    link = answer["dispatcherInformation"]["response"]
    return outofband.open_payload(outofband.decode_scanned(link), phone.encryption_key).members


async def signed(bench: Bench, phone: Phone, answer: dict[str, Any], twist: Twist | None = None) -> dict[str, Any]:
    request = json.loads((await bench.redeem(answer["token"]))["uafRequest"])[0]
    return phone.authenticate(request, twist or Twist())


def wrong(content: str) -> str:
    return content[:-1] + ("1" if content[-1] != "1" else "2")


async def tell(bench: Bench, response: dict[str, Any], answered: str | None) -> tuple[int, int | None]:
    """Return the status and triesLeft that a response with `answered` beside it gets."""
    context = {} if answered is None else {"channelLinkingResponse": answered}
    answer = await bench.respond("Auth", response, context)
    return answer["statusCode"], json.loads(answer["description"]).get("triesLeft")


@pytest.mark.parametrize("digits", [2, 4, 6])
def test_the_number_is_shown_by_the_laptop_and_not_in_the_payload(tmp_path: Path, digits: int) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        answer = await dispatched(bench, {"channelLinking": {"mode": "number", "digits": digits}})
        linking = answer["channelLinking"]
        assert linking["mode"] == "number"
        assert len(linking["content"]) == digits
        assert linking["content"].isdigit()
        members = payload(answer, phone)
        assert members.pop("channelLinking") == {"mode": "number", "digits": digits}
        assert f'"{linking["content"]}"' not in json.dumps(members)
        assert await tell(bench, await signed(bench, phone, answer), linking["content"]) == (1200, None)
        assert (await bench.status(answer["sessionId"]))["status"] == "succeeded"

    run(tmp_path, check)


def test_a_laptop_cannot_say_otherwise_beside_it(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        data = {"data": {"channelLinking": {"mode": "ble"}, "more": 1}}
        assert payload(await dispatched(bench, NUMBER | data), phone)["channelLinking"]["mode"] == "number"
        members = payload(await dispatched(bench, data), phone)
        assert "channelLinking" not in members
        assert members["more"] == 1

    run(tmp_path, check)


def test_numbers_are_random_and_their_leading_zeros_stay(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await bench.registered(target=True)
        seen = Counter([(await dispatched(bench))["channelLinking"]["content"] for _ in range(200)])
        assert {len(number) for number in seen} == {2}
        assert len(seen) > 50
        assert any(number.startswith("0") for number in seen)

    run(tmp_path, check)


def test_a_nonce_for_ble_must_come_back_the_same_way(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        answer = await dispatched(bench, BLE)
        nonce = answer["channelLinking"]["content"]
        assert payload(answer, phone)["channelLinking"] == {"mode": "ble"}
        assert nonce not in json.dumps(payload(answer, phone))
        response = await signed(bench, phone, answer)
        assert await tell(bench, response, wrong(nonce)) == (1498, 2)
        assert await tell(bench, response, nonce) == (1200, None)
        assert (await dispatched(bench, BLE))["channelLinking"]["content"] != nonce

    run(tmp_path, check)


def test_a_wrong_answer_costs_a_try_and_leaves_challenge_and_counter(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        answer = await dispatched(bench)
        number = answer["channelLinking"]["content"]
        response = await signed(bench, phone, answer)
        before = await bench.state()
        assert await tell(bench, response, wrong(number)) == (1498, 2)
        assert await tell(bench, response, None) == (1498, 1)
        assert await bench.state() == before
        assert (await bench.status(answer["sessionId"]))["status"] == "clientAuthenticating"
        assert await tell(bench, response, number) == (1200, None)
        assert await tell(bench, response, number) == (1491, None)

    run(tmp_path, check)


def test_the_third_wrong_answer_ends_the_session(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        answer = await dispatched(bench)
        number = answer["channelLinking"]["content"]
        response = await signed(bench, phone, answer)
        assert [await tell(bench, response, wrong(number)) for _ in range(3)] == [(1498, 2), (1498, 1), (1498, 0)]
        assert await tell(bench, response, number) == (1491, None)
        status = await bench.status(answer["sessionId"])
        assert (status["status"], status["uafStatusCode"]) == ("failed", 1498)

    run(tmp_path, check)


def test_an_assertion_that_is_not_good_consumes_as_ever_and_tells_nothing_of_the_number(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        for right in (True, False):
            answer = await dispatched(bench)
            number = answer["channelLinking"]["content"]
            response = await signed(bench, phone, answer, Twist(tc_hash=bytes(32)))
            assert await tell(bench, response, number if right else wrong(number)) == (1498, None)
            assert (await bench.status(answer["sessionId"]))["status"] == "failed"

    run(tmp_path, check)


@pytest.mark.parametrize("answered", ["", "4", "042", "４２", "4" * 129, "\x00"])
def test_answers_that_are_no_number_are_wrong_or_malformed(tmp_path: Path, answered: str) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        answer = await dispatched(bench)
        response = await signed(bench, phone, answer)
        status, left = await tell(bench, response, answered)
        assert (status, left) == ((1400, None) if len(answered) > 128 else (1498, 2))
        assert await tell(bench, response, answer["channelLinking"]["content"]) == (1200, None)

    run(tmp_path, check)


def test_of_racing_wrong_answers_three_are_counted(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered(target=True)
        answer = await dispatched(bench)
        response = await signed(bench, phone, answer)
        number = answer["channelLinking"]["content"]
        told = await asyncio.gather(*(tell(bench, response, wrong(number)) for _ in range(6)))
        assert sorted(told, key=str) == [(1491, None)] * 3 + [(1498, 0), (1498, 1), (1498, 2)]
        left = Query("SELECT linking_tries_left FROM session WHERE channel_linking IS NOT NULL", Count)
        assert await bench.store.fetch_one(left) == Count(0)

    run(tmp_path, check, database)


def test_a_second_dispatcher_shows_the_same_number(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        await bench.registered(target=True)
        first = await dispatched(bench)
        again = await dispatched(bench, dispatcher="png-qr-code", sessionId=first["sessionId"])
        for member in ("token", "sessionId", "channelLinking"):
            assert again[member] == first[member]
        for other in ({}, BLE, {"channelLinking": {"mode": "number", "digits": 3}}):
            assert (await dispatched(bench, other, sessionId=first["sessionId"]))["sessionId"] != first["sessionId"]

    run(tmp_path, check)


@pytest.mark.parametrize(
    "linking",
    [None, {}, "number", {"mode": "smell"}, *({"mode": "number", "digits": n} for n in (0, 1, 7, "2", 2.5))],
    ids=str,
)
def test_linkings_that_are_none_are_refused(tmp_path: Path, linking: object) -> None:
    async def check(bench: Bench) -> None:
        body = {
            "getUafRequest": {"op": "Auth", "context": "{}"},
            "dispatcher": "link",
            "dispatchInformation": {"channelLinking": linking},
        }
        answer = await bench.post("/token/dispatch/authentication", body, JSON, api=True)
        assert answer.status_code == 400
        assert "channelLinking" in answer.json()["detail"]

    run(tmp_path, check)


def test_only_an_authentication_can_be_linked(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for name, op in (("registration", "Reg"), ("deregistration", "Dereg")):
            context = json.dumps({"username": "jeff", "mode": "username"})
            body = {
                "getUafRequest": {"op": op, "context": context},
                "dispatcher": "link",
                "dispatchInformation": NUMBER,
            }
            answer = await bench.post(f"/token/dispatch/{name}", body, JSON, api=True)
            assert answer.status_code == 400

    run(tmp_path, check)
