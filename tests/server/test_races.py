"""One winner: tokens, challenges and request ids under racing callers, on SQLite and on PostgreSQL."""

import asyncio
import json
import secrets
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from fidoloop.protocol.jose import sign_compact
from fidoloop.protocol.uaf.verify_authentication_response import VerifiedAuthentication
from fidoloop.server import admin
from fidoloop.server.app import create_app
from fidoloop.server.environment import Environment, system_clock
from fidoloop.server.errors import StoreError
from fidoloop.server.services import authentication_response
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Change, Query, Transaction, Value
from fidoloop.server.store.open import open_store
from fidoloop.server.store.rows import IssuedRequest, Nothing
from fidoloop.server.uaf_responses import Received
from tests.server.harness import BASE, JSON, REDEEM, UAF, Bench, running, session_id_of
from tests.server.phone import Phone, twisted
from tests.server.process import serving

RACERS = 8


async def race(bench: Bench, method: str, path: str, content: str, headers: dict[str, str]) -> list[httpx2.Response]:
    """Send one request many times at once, through two servers with stores of their own."""
    async with AsyncExitStack() as stack:
        clients = [bench.client]
        other = await open_store(bench.config.database)
        stack.push_async_callback(other.close)
        transport = httpx2.ASGITransport(app=create_app(bench.config, other, clock=bench.clock))
        clients.append(await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url=BASE)))
        return await asyncio.gather(
            *(
                clients[number % 2].request(method, f"/nevisfido{path}", content=content, headers=headers)
                for number in range(RACERS)
            )
        )


def codes(answers: list[httpx2.Response]) -> Counter[int]:
    return Counter(answer.json()["statusCode"] for answer in answers)


def test_registration_log_in_and_races(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            phone = await bench.registered(target=True)
            (target,) = await admin.list_targets(bench.store)
            wanted = {
                "getUafRequest": {"op": "Auth", "context": "{}"},
                "dispatcher": "link",
                "dispatchTargetId": target.id,
            }
            dispatched = (await bench.post("/token/dispatch/authentication", wanted, JSON, api=True)).json()

            redeemed = await race(
                bench, "POST", "/token/redeem/authentication", json.dumps({"token": dispatched["token"]}), REDEEM
            )
            assert codes(redeemed) == {1200: 1, 1403: RACERS - 1}
            (returned,) = [answer.json() for answer in redeemed if answer.json()["statusCode"] == 1200]

            response = phone.authenticate(json.loads(returned["uafRequest"])[0])
            body = json.dumps({"uafResponse": json.dumps([response])})
            responded = await race(bench, "POST", "/uaf/1.1/authentication", body, UAF)
            assert codes(responded) == {1200: 1, 1491: RACERS - 1}
            (credential,) = await admin.list_credentials(bench.store)
            assert credential.sign_counter == 1
            assert (await bench.status(dispatched["sessionId"]))["status"] == "succeeded"

            change = {
                "dispatchTargetId": target.id,
                "requestId": "once",
                "creationTimeInEpochMillis": bench.clock(),
                "name": "renamed",
            }
            signed = sign_compact(json.dumps(change).encode(), phone.signature_key)
            path = f"/token/dispatch/targets/{target.id}"
            patched = await race(bench, "PATCH", path, signed, {"content-type": "application/jose"})
            assert Counter(answer.status_code for answer in patched) == {204: 1, 401: RACERS - 1}

    asyncio.run(scenario())


def test_two_log_ins_with_one_counter_have_one_winner(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            phone = await bench.registered()
            first, second = [await bench.uaf_request("Auth", {}, api=False) for _ in range(2)]
            responses = [phone.authenticate(first)]
            phone.keys[0].counter = 0  # a clone of the key
            responses.append(phone.authenticate(second))
            answers = await asyncio.gather(*(bench.respond("Auth", response) for response in responses))
            assert sorted(answer["statusCode"] for answer in answers) == [1200, 1498]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("meanwhile", "refusal"),
    [
        ("DELETE FROM credential", 1481),
        ("UPDATE credential SET public_key = :other", 1481),
        ("UPDATE credential SET username = 'mia'", 1481),
        ("UPDATE account SET disabled_at = 1", 1403),
        ("UPDATE credential SET sign_counter = 1", 1498),
        ("UPDATE session SET state = 'failed' WHERE consumed_at IS NULL", 1491),
        ("UPDATE session SET request_expires_at = 0 WHERE consumed_at IS NULL", 1491),
        ("UPDATE session SET consumed_at = 1 WHERE consumed_at IS NULL", 1491),
    ],
)
def test_what_changes_between_verifying_and_writing_is_seen(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, meanwhile: str, refusal: int
) -> None:
    verify = authentication_response._verify

    async def slowly(
        environment: Environment, transaction: Transaction, received: Received, issued: IssuedRequest, now: int
    ) -> tuple[VerifiedAuthentication, ...]:
        verified = await verify(environment, transaction, received, issued, now)
        # As another transaction would that was committed by now.
        values: dict[str, Value] = {"other": b"another key"} if ":other" in meanwhile else {}
        assert await transaction.execute(Query(meanwhile, Nothing), **values)
        return verified

    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            phone = await bench.registered()
            request = await bench.uaf_request("Auth", {}, api=False)
            monkeypatch.setattr(authentication_response, "_verify", slowly)
            answer = await bench.respond("Auth", phone.authenticate(request))
            assert answer["statusCode"] == refusal
            if refusal == 1491:
                # The transaction was rolled back as a whole.
                (credential,) = await admin.list_credentials(bench.store)
                assert credential.sign_counter == 0
                return
            assert all(credential.last_used_at is None for credential in await admin.list_credentials(bench.store))
            status = await bench.status(session_id_of(request))
            assert (status["status"], status["uafStatusCode"]) == ("failed", refusal)
            monkeypatch.undo()
            assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1491

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("meanwhile", "refusal"),
    [
        ("DELETE FROM credential", 1481),
        ("UPDATE credential SET public_key = :other", 1494),
        ("UPDATE credential SET username = 'mia'", 1200),
        ("UPDATE account SET disabled_at = 1", 1403),
        ("UPDATE credential SET sign_counter = 2", 1498),
        ("UPDATE session SET state = 'failed' WHERE consumed_at IS NULL", 1491),
        ("UPDATE session SET request_expires_at = 0 WHERE consumed_at IS NULL", 1491),
        ("UPDATE session SET consumed_at = 1 WHERE consumed_at IS NULL", 1491),
        ("UPDATE session SET server_data = 'another' WHERE consumed_at IS NULL", 1491),
        ("UPDATE session SET op = 'Reg' WHERE consumed_at IS NULL", 1491),
    ],
)
def test_what_is_remembered_and_true_no_more_is_not_believed(
    tmp_path: Path, database: str, meanwhile: str, refusal: int
) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            phone = await bench.registered()
            for wanted in (1200, refusal):
                request = await bench.uaf_request("Auth", {}, api=False)
                if wanted == refusal:
                    # As another process would.
                    values: dict[str, Value] = {"other": b"another key"} if ":other" in meanwhile else {}
                    await bench.store.execute(Query(meanwhile, Nothing), **values)
                before = await admin.list_credentials(bench.store)
                answer = await bench.respond("Auth", phone.authenticate(request))
                assert answer["statusCode"] == wanted
            if refusal == 1200:
                assert (await bench.status(session_id_of(request)))["userId"] == "mia"
                return
            assert await admin.list_credentials(bench.store) == before
            if refusal != 1491:
                status = await bench.status(session_id_of(request))
                assert (status["status"], status["uafStatusCode"]) == ("failed", refusal)

    asyncio.run(scenario())


def test_a_response_is_taken_by_another_server_than_issued_the_request(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            phone = await bench.registered()
            other = await open_store(bench.config.database)
            transport = httpx2.ASGITransport(app=create_app(bench.config, other, clock=bench.clock))
            async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
                for _ in range(3):
                    for answering in (bench.client, client):
                        request = await bench.uaf_request("Auth", {}, api=False)
                        body = json.dumps({"uafResponse": json.dumps([phone.authenticate(request)])})
                        path = "/nevisfido/uaf/1.1/authentication"
                        answer = await answering.post(path, content=body, headers=UAF)
                        assert answer.json()["statusCode"] == 1200
                        again = await bench.client.post(path, content=body, headers=UAF)
                        assert again.json()["statusCode"] == 1491
            await other.close()

    asyncio.run(scenario())


def test_changes_are_made_all_or_none(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            disabling = Query("UPDATE account SET disabled_at = 1 WHERE username = :username", Nothing)

            def disable(name: str) -> Change:
                return Change(disabling, {"username": name})

            async def disabled() -> list[str]:
                return [user.username for user in await admin.list_users(bench.store) if user.disabled_at]

            assert not await bench.store.apply([disable("nobody")])
            assert not await bench.store.apply([disable("jeff"), disable("nobody")])
            assert not await bench.store.apply([disable("nobody"), disable("jeff")])
            assert await disabled() == []
            assert await bench.store.apply([disable("mia"), disable("jeff")])
            assert await disabled() == ["jeff", "mia"]

    asyncio.run(scenario())


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "in an open transaction"])
def test_a_change_of_several_rows_is_made_whole_or_not_at_all(tmp_path: Path, database: str, beside: bool) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:

            def proofs(first: str, second: str) -> Change:
                parameters: dict[str, Value] = {"replay_key": first, "second_key": second}
                return Change(oauth_queries.ADD_PROOFS, parameters | {"expires_at": 1, "second_until": 1}, rows=2)

            async def apply(*changes: Change) -> bool:
                if beside:
                    adding = admin.add_user(bench.store, secrets.token_hex(4), now=1)
                    return (await asyncio.gather(adding, bench.store.apply(changes)))[1]
                return await bench.store.apply(changes)

            async def used(key: str) -> bool:
                return await bench.store.fetch_one(oauth_queries.USED_PROOF, replay_key=key) is not None

            assert await apply(proofs("a", "b"))
            assert not await apply(proofs("c", "b"))
            assert not await used("c")
            assert not await apply(proofs("d", "e"), proofs("f", "a"))
            assert [await used(key) for key in "abdef"] == [True, True, False, False, False]
            assert await apply(proofs("c", "d"), proofs("e", "f"))

    asyncio.run(scenario())


def test_one_key_is_registered_once(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            phone = Phone(bench.full)
            requests = [await bench.uaf_request("Reg", {"username": name}) for name in ("jeff", "mia") * 2]
            key_id = bytes(32)
            answers = await asyncio.gather(
                *(bench.respond("Reg", phone.register(request, twisted(key_id=key_id))) for request in requests)
            )
            assert Counter(answer["statusCode"] for answer in answers) == {1200: 1, 1498: 3}
            assert len(await admin.list_credentials(bench.store)) == 1

    asyncio.run(scenario())


@pytest.mark.sqlite_only
def test_processes_race_for_a_token_on_sqlite(tmp_path: Path) -> None:
    async def token() -> str:
        async with running(tmp_path) as bench:
            await bench.registered()
            wanted = {"getUafRequest": {"op": "Auth", "context": "{}"}, "dispatcher": "link"}
            # The servers below keep the time of day.
            bench.clock.now = system_clock()
            answer = await bench.post("/token/dispatch/authentication", wanted, JSON, api=True)
            return str(answer.json()["token"])

    made = asyncio.run(token())

    async def redeem(urls: list[str]) -> Counter[int]:
        async with httpx2.AsyncClient() as client:
            path, body = "/nevisfido/token/redeem/authentication", {"token": made}
            calls = [client.post(f"{url}{path}", json=body, headers=REDEEM) for url in urls * 4]
            return codes(await asyncio.gather(*calls))

    with serving(tmp_path, "--insecure") as (first, _), serving(tmp_path, "--insecure") as (second, _):
        assert asyncio.run(redeem([first, second])) == {1200: 1, 1403: 7}


def test_a_postgresql_that_cannot_be_used_says_why_and_not_the_password(postgres_url: str) -> None:
    no_database = postgres_url.replace("/postgres?", "/nothing?")
    no_schema = f"{postgres_url}&options=-csearch_path%3Dnowhere"
    for url, reason in (
        ("postgresql://fido:sesame@127.0.0.1:1/fido", "cannot connect: .*127.0.0.1"),
        (no_database, 'cannot connect: database "nothing" does not exist'),
        (no_schema, "tables cannot be brought up to date: no schema has been selected"),
        ("postgresql://fido:sesame@[:1/fido", "cannot connect: the URL"),
    ):
        with pytest.raises(StoreError, match=reason) as refused:
            asyncio.run(open_store(url, migrate=True))
        assert "sesame" not in str(refused.value)
