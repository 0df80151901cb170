"""A token request reads, then writes what it read: whatever changes in between is found, and nothing half-written."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import httpx2
import pytest

from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.store.base import Change, Query, Store
from fidoloop.server.store.rows import Count, Nothing
from tests.server.harness import Bench, running
from tests.server.oauth.client import OAuthClient, new_client

OTHER_KEY = """UPDATE oauth_client SET jkt = 'x', jwk = '{"crv":"P-256","kty":"EC","x":"","y":""}'"""
CHANGES = {
    "the user is disabled": ("UPDATE account SET disabled_at = 1", "invalid_grant", 400),
    "the grant is revoked": ("UPDATE oauth_grant SET revoked_at = 1", "invalid_grant", 400),
    "the client is removed": ("UPDATE oauth_client SET revoked_at = 1", "invalid_client", 401),
    "the client has another key": (OTHER_KEY, "invalid_client", 401),
    "the client authenticates otherwise": (
        "UPDATE oauth_client SET auth_method = 'private_key_jwt'",
        "invalid_client",
        401,
    ),
    "it is used": ("UPDATE {table} SET used_at = 1", "invalid_grant", 400),
    "it is expired": ("UPDATE {table} SET expires_at = 1", "invalid_grant", 400),
}
KINDS = {"code": "oauth_code", "refresh token": "oauth_token", "remembered refresh token": "oauth_token"}
Send = Callable[[], Awaitable[httpx2.Response]]


def run(home: Path, database: str, kind: str, check: Callable[[Bench, Send], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with running(home, database=database) as bench:
            client = await new_client(bench)
            await check(bench, await ready(client, kind))

    asyncio.run(scenario())


async def ready(client: OAuthClient, kind: str) -> Send:
    """Return what redeems a fresh code or refresh token."""
    if kind == "code":
        code = await client.code()
        return lambda: client.redeem(code)
    token = (await client.tokens())["refresh_token"]
    if kind.startswith("remembered"):
        token = (await client.refresh(token)).json()["refresh_token"]
        known = client.bench.environment.remembered
        row = known.take_token(token_hash(token))
        assert row is not None
        known.token_issued(token_hash(token), row)
    return lambda: client.refresh(token)


def change_before_writing(bench: Bench, patch: pytest.MonkeyPatch, statement: str, times: int = 1) -> None:
    """Have the store run a statement before the next `times` batches of changes, as another process might."""
    store, apply, left = bench.store, bench.store.apply, [times]

    async def changed_first(changes: Sequence[Change]) -> bool:
        if left[0]:
            left[0] -= 1
            assert await store.execute(Query(statement, Nothing)) > 0
        return await apply(changes)

    patch.setattr(store, "apply", changed_first)


async def rows(store: Store) -> list[int]:
    found = [
        await store.fetch_one(Query(f"SELECT COUNT(*) FROM {table}", Count))  # noqa: S608
        for table in ("oauth_token", "oauth_replay")
    ]
    return [each.rows for each in found if each is not None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_no_more_as_it_was_read_gets_no_token(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    statement, code, status = CHANGES[name]

    async def check(bench: Bench, send: Send) -> None:
        before = await rows(bench.store)
        change_before_writing(bench, monkeypatch, statement.replace("{table}", KINDS[kind]))
        answer = await send()
        assert (answer.status_code, answer.json()["error"]) == (status, code)
        assert await rows(bench.store) == before

    run(tmp_path, database, kind, check)


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_remembered_is_not_believed(tmp_path: Path, database: str, name: str) -> None:
    statement, code, status = CHANGES[name]

    async def check(bench: Bench, send: Send) -> None:
        before = await rows(bench.store)
        await bench.store.execute(Query(statement.replace("{table}", "oauth_token"), Nothing))
        answer = await send()
        assert (answer.status_code, answer.json()["error"]) == (status, code)
        assert await rows(bench.store) == before

    run(tmp_path, database, "remembered refresh token", check)


@pytest.mark.parametrize("kind", KINDS)
def test_what_changed_and_is_still_good_is_taken(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def check(bench: Bench, send: Send) -> None:
        change_before_writing(bench, monkeypatch, "UPDATE oauth_client SET device = device || ' '")
        assert (await send()).status_code == 200

    run(tmp_path, database, kind, check)


def test_what_never_stands_still_is_an_error_of_the_server(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(bench: Bench, send: Send) -> None:
        before = await rows(bench.store)
        change_before_writing(bench, monkeypatch, "UPDATE oauth_client SET device = device || ' '", times=9)
        answer = await send()
        assert (answer.status_code, answer.json()["error"]) == (500, "server_error")
        assert await rows(bench.store) == before

    run(tmp_path, database, "code", check)


def test_a_proof_used_before_leaves_the_refresh_token(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with running(tmp_path, database=database) as bench:
            client = await new_client(bench)
            token = (await client.tokens())["refresh_token"]
            dpop, pop = client.proof("/token"), client.pop()
            form = {"grant_type": "refresh_token"}
            first = await client.send(
                "/token", form | {"refresh_token": token}, client.headers("/token", dpop=dpop, pop=pop)
            )
            form["refresh_token"] = first.json()["refresh_token"]
            before = await rows(bench.store)
            for fields, code in (
                (client.headers("/token", dpop=dpop), "invalid_dpop_proof"),
                (client.headers("/token", pop=pop), "invalid_client_attestation"),
            ):
                answer = await client.send("/token", form, fields)
                assert answer.json()["error"] == code
                assert await rows(bench.store) == before
            assert (await client.send("/token", form)).status_code == 200

    asyncio.run(scenario())
