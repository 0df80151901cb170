"""What a process knows of a session it began is never believed: other processes may have changed it since."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fidoloop.server import admin
from fidoloop.server.remembered import MOST_KEYS_OF_A_USER
from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Count, Nothing
from tests.server.harness import JSON, Bench, running
from tests.server.phone import Phone

ADD_KEY = (
    "INSERT INTO credential (aaid, key_id, app_id, username, public_key, public_key_format, signature_algorithm,"
    " authenticator_version, sign_counter, registration_counter, attestation_type, key_attested, created_at)"
    " SELECT aaid, 'bmV3', app_id, username, public_key, public_key_format, signature_algorithm,"
    " authenticator_version, sign_counter, registration_counter, attestation_type, key_attested, created_at"
    " FROM credential WHERE key_id <> 'bmV3'"
)
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


@pytest.mark.parametrize("name", CHANGES)
def test_a_user_whose_keys_are_remembered_gets_no_request_that_the_store_would_not_give(
    tmp_path: Path, database: str, name: str
) -> None:
    statement, status = CHANGES[name]

    async def check(bench: Bench, phone: Phone) -> None:
        assert (await bench.redeem((await dispatched(bench))["token"]))["statusCode"] == 1200
        made = await dispatched(bench)
        assert bench.environment.remembered.keys_of("jeff")
        assert await bench.store.execute(Query(statement, Nothing)) > 0
        answer = await bench.redeem(made["token"])
        assert answer["statusCode"] == status
        assert "uafRequest" not in answer

    run(tmp_path, database, check)


KEY_CHANGES = {
    "one more": (ADD_KEY, 2),
    "one less": ("DELETE FROM credential WHERE key_id = 'bmV3'", 1),
    "another in its place": ("UPDATE credential SET key_id = 'b3RoZXI' WHERE key_id = 'bmV3'", 2),
    "one registered anew": ("UPDATE credential SET created_at = created_at + 1 WHERE key_id = 'bmV3'", 2),
    "one of another model": ("UPDATE credential SET aaid = 'FFFF#0000' WHERE key_id = 'bmV3'", 1),
}


@pytest.mark.parametrize("name", KEY_CHANGES)
def test_a_request_names_the_keys_that_there_are_and_not_those_that_are_remembered(
    tmp_path: Path, database: str, name: str
) -> None:
    statement, expected = KEY_CHANGES[name]

    async def asked(bench: Bench) -> set[str]:
        request = json.loads((await bench.redeem((await dispatched(bench))["token"]))["uafRequest"])[0]
        return {key for group in request["policy"]["accepted"] for match in group for key in match["keyIDs"]}

    async def check(bench: Bench, phone: Phone) -> None:
        if statement != ADD_KEY:
            await bench.store.execute(Query(ADD_KEY, Nothing))
        before = await asked(bench)
        assert await asked(bench) == before
        assert await bench.store.execute(Query(statement, Nothing)) == 1
        remembered = bench.environment.remembered.keys_of("jeff")
        after = await asked(bench)
        assert len(after) == expected
        assert (after == before) == (name == "one registered anew")
        assert bench.environment.remembered.keys_of("jeff") != remembered

    run(tmp_path, database, check)


def test_the_keys_of_a_user_who_has_many_are_read_each_time(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, phone: Phone) -> None:
        for number in range(2, MOST_KEYS_OF_A_USER + 2):
            another = ADD_KEY.replace("'bmV3'", f"'key{number}'").replace(f"<> 'key{number}'", "NOT LIKE 'key%'")
            assert await bench.store.execute(Query(another, Nothing)) == 1
            assert (await bench.redeem((await dispatched(bench))["token"]))["statusCode"] == 1200
            remembered = bench.environment.remembered.keys_of("jeff")
            assert (remembered is None) == (number > MOST_KEYS_OF_A_USER)

    run(tmp_path, database, check)


@pytest.mark.parametrize(
    "order", [{"dispatcher": "png-qr-code"}, {"dispatcher": "no-such"}, {"dispatchTargetId": "no-such"}], ids=str
)
def test_an_api_credential_is_refused_as_soon_as_it_is_revoked(
    tmp_path: Path, database: str, order: dict[str, str]
) -> None:
    async def check(bench: Bench, phone: Phone) -> None:
        key = await admin.add_api_key(bench.store, "one more", now=bench.clock())
        wanted = {"getUafRequest": {"op": "Auth", "context": '{"username":"jeff"}'}} | order

        async def status(bearer: str) -> int:
            headers = JSON | {"authorization": f"Bearer {bearer}"}
            return (await bench.post("/token/dispatch/authentication", wanted, headers)).status_code

        assert [await status(key.bearer), await status(key.bearer)] == [200, 200]
        before = await count(bench)
        assert await status(f"{key.bearer}x") == 401
        await admin.revoke_api_key(bench.store, key.id, now=bench.clock())
        assert [await status(key.bearer), await status(key.bearer)] == [401, 401]
        assert bench.environment.remembered.api_key(key.id) is None
        assert await count(bench) == before

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
