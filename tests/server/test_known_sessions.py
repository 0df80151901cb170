"""What a process knows of a session it began is never believed: other processes may have changed it since."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Count, Nothing
from tests.server.harness import JSON, Bench, running
from tests.server.phone import Phone

CHANGES = {
    "the token is redeemed": ("UPDATE session SET redeemed_at = 1 WHERE token IS NOT NULL", 1403),
    "the token is expired": ("UPDATE session SET token_expires_at = 1 WHERE token IS NOT NULL", 1408),
    "the session is ended": ("UPDATE session SET state = 'failed' WHERE token IS NOT NULL", 1403),
    "the session is gone": ("DELETE FROM session WHERE token IS NOT NULL", 1404),
    "the user is disabled": ("UPDATE account SET disabled_at = 1", 1400),
    "the key is removed": ("DELETE FROM credential", 1492),
}
ENDED = {
    "the session is ended": ("UPDATE session SET state = 'failed'", 1491),
    "the request is taken": ("UPDATE session SET consumed_at = 1", 1491),
    "the request is expired": ("UPDATE session SET request_expires_at = 1", 1491),
    "the user is disabled": ("UPDATE account SET disabled_at = 1", 1403),
    "the key is removed": ("DELETE FROM credential", 1481),
}


def run(home: Path, database: str, check: Callable[[Bench, Phone], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with running(home, database=database) as bench:
            await check(bench, await bench.registered())

    asyncio.run(scenario())


async def dispatched(bench: Bench, **information: object) -> dict[str, str]:
    wanted = {"getUafRequest": {"op": "Auth", "context": '{"username":"jeff"}'}, "dispatcher": "png-qr-code"}
    answer = await bench.post("/token/dispatch/authentication", wanted | information, JSON, api=True)
    return dict(answer.json())


async def count(bench: Bench) -> int:
    found = await bench.store.fetch_one(Query("SELECT COUNT(*) FROM session", Count))
    assert found is not None
    return found.rows


@pytest.mark.parametrize("name", CHANGES)
def test_a_token_that_is_no_more_as_it_is_remembered_gets_no_request(tmp_path: Path, database: str, name: str) -> None:
    statement, status = CHANGES[name]

    async def check(bench: Bench, phone: Phone) -> None:
        made = await dispatched(bench)
        assert await bench.store.execute(Query(statement, Nothing)) > 0
        answer = await bench.redeem(made["token"])
        assert answer["statusCode"] == status
        assert "uafRequest" not in answer

    run(tmp_path, database, check)


@pytest.mark.parametrize("name", ENDED)
def test_a_request_that_is_no_more_as_it_is_remembered_takes_no_response(
    tmp_path: Path, database: str, name: str
) -> None:
    statement, status = ENDED[name]

    async def check(bench: Bench, phone: Phone) -> None:
        for change in ("", statement):
            made = await dispatched(bench)
            request = json.loads((await bench.redeem(made["token"]))["uafRequest"])[0]
            if change:
                assert await bench.store.execute(Query(change, Nothing)) > 0
            answer = await bench.respond("Auth", phone.authenticate(request))
            assert answer["statusCode"] == (status if change else 1200)
        assert (await bench.status(made["sessionId"]))["status"] != "succeeded"

    run(tmp_path, database, check)


@pytest.mark.parametrize("change", ["UPDATE account SET disabled_at = 1", None], ids=["disabled", "unknown"])
def test_no_token_is_shown_for_who_is_not_there(tmp_path: Path, database: str, change: str | None) -> None:
    async def check(bench: Bench, phone: Phone) -> None:
        before = await count(bench)
        username = "jeff" if change else "nobody"
        if change:
            await bench.store.execute(Query(change, Nothing))
        context = json.dumps({"username": username})
        assert await dispatched(bench, getUafRequest={"op": "Auth", "context": context}) == {
            "dispatchResult": "userNotFound"
        }
        assert await count(bench) == before

    run(tmp_path, database, check)


def test_a_linked_request_is_answered_by_the_store(tmp_path: Path, database: str) -> None:
    """Its tries are counted there."""

    async def check(bench: Bench, phone: Phone) -> None:
        for _ in range(2):
            made = await dispatched(bench, dispatchInformation={"channelLinking": {"mode": "number"}})
            request = json.loads((await bench.redeem(made["token"]))["uafRequest"])[0]
            answer = await bench.respond("Auth", phone.authenticate(request))
            assert answer["statusCode"] == 1498
            assert (await bench.status(made["sessionId"]))["status"] == "clientAuthenticating"

    run(tmp_path, database, check)
