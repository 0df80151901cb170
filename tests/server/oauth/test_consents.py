"""What people allowed apps: in the audit trail, on their account page, and withdrawn."""

from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server import admin
from fidoloop.server.errors import NotFoundError
from fidoloop.server.oauth.consents import list_grants, revoke_by_operator
from fidoloop.server.settings.oauth import OAuthSettings
from tests.server.harness import Bench
from tests.server.oauth.browser_flow import METADATA, REDIRECT, Consenting, consenting, pushed, run
from tests.server.oauth.client import OAuthClient, new_client
from tests.server.oauth.test_token_endpoint import introspected, refused

CONSENT = "consent"


async def trail(bench: Bench, event: str) -> list[tuple[int, str | None, str | None]]:
    """Outcome, user and client of the entries of an event, the oldest first."""
    entries = await admin.audit_entries(bench.store)
    return [(entry.outcome, entry.username, entry.client_id) for entry in reversed(entries) if entry.event == event]


async def granted(client: OAuthClient, browser: Consenting, **changes: str | None) -> dict[str, Any]:
    """Have a request allowed, and return the tokens."""
    code = (await browser.allowed(await pushed(client, **changes)))["code"]
    answer = await client.redeem(code, redirect_uri=REDIRECT)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def apps(browser: Consenting) -> list[dict[str, Any]]:
    answer = await browser.get("/web/apps")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["apps"])


async def withdraw(browser: Consenting, client_id: str) -> int:
    return (await browser.post("/web/apps/withdraw", {"client": client_id})).status_code


async def is_active(bench: Bench, token: str) -> bool:
    return bool((await introspected(bench, token))["active"])


def test_a_yes_and_a_no_are_written_down(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        await browser.allowed(await pushed(client))
        yes = (StatusCode.OK, "jeff", client.client_id)
        assert await trail(bench, CONSENT) == [yes]
        bench.clock.advance(1)
        await browser.decide(await browser.open(await pushed(client)), allow=False)
        no = (StatusCode.FORBIDDEN, "jeff", client.client_id)
        assert await trail(bench, CONSENT) == [yes, no]
        bench.clock.advance(1)
        async with consenting(bench) as stranger:
            await stranger.decide(await stranger.open(await pushed(client)), allow=False)
        assert await trail(bench, CONSENT) == [yes, no, (StatusCode.FORBIDDEN, None, client.client_id)]

    run(tmp_path, check)


def test_a_refused_answer_leaves_no_entry(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        opened = await browser.open(await pushed(client))
        assert (await browser.decide(opened, username="mia")).status_code == 403
        async with consenting(bench) as stranger:
            assert (await stranger.decide(opened, allow=False)).status_code == 403
        assert await trail(bench, CONSENT) == []

    run(tmp_path, check)


def test_a_user_sees_the_apps_that_may_act_for_him(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        assert await apps(browser) == []
        began = bench.clock()
        await granted(client, browser)
        bench.clock.advance(60)
        tokens = await granted(client, browser, scope="openid")
        (shown,) = await apps(browser)
        assert shown == {
            "client": client.client_id,
            "name": METADATA["client_name"],
            "device": "piv-attestation, attested, firmware 5.7.1",
            "scopes": ["openid", "api"],
            "since": began,
            "lastUsedAt": bench.clock(),
            "until": bench.clock() + 1000 * bench.config.oauth.refresh_token,
        }
        bench.clock.advance(60)
        await client.fresh()
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200
        (later,) = await apps(browser)
        assert later["lastUsedAt"] == bench.clock()
        async with consenting(bench) as stranger:
            assert (await stranger.get("/web/apps")).status_code == 401
            await stranger.log_in(bench, await bench.registered("mia"))
            assert await apps(stranger) == []

    run(tmp_path, check)


def test_access_that_is_withdrawn_is_over_and_that_is_written_down(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        other = await new_client(bench, **METADATA)
        tokens, others = await granted(client, browser), await granted(other, browser)
        waiting = (await browser.allowed(await pushed(client)))["code"]
        async with consenting(bench) as mias:
            await mias.log_in(bench, await bench.registered("mia"))
            of_mia = await granted(client, mias)
            assert await withdraw(mias, other.client_id) == 404
        assert await withdraw(browser, client.client_id) == 204
        assert [app["client"] for app in await apps(browser)] == [other.client_id]
        refused(await client.refresh(tokens["refresh_token"]), "invalid_grant")
        refused(await client.redeem(waiting, redirect_uri=REDIRECT), "invalid_grant")
        assert not await is_active(bench, tokens["access_token"])
        # What others allowed the app, and what other apps may, is not touched.
        assert await is_active(bench, of_mia["access_token"])
        assert await is_active(bench, others["access_token"])
        assert await trail(bench, "consent-withdrawn") == [(StatusCode.OK, "jeff", client.client_id)]
        for unknown in (client.client_id, "unknown"):
            assert await withdraw(browser, unknown) == 404
        assert len(await trail(bench, "consent-withdrawn")) == 1

    run(tmp_path, check, oauth=OAuthSettings(access_token_format="opaque"))


def test_only_its_own_pages_and_the_user_withdraw(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        tokens = await granted(client, browser)
        body = {"client": client.client_id}
        assert (await browser.post("/web/apps/withdraw", body, origin="https://evil.example")).status_code == 403
        async with consenting(bench) as stranger:
            assert await withdraw(stranger, client.client_id) == 401
        assert (await client.refresh(tokens["refresh_token"])).status_code == 200

    run(tmp_path, check)


def test_an_operator_sees_and_ends_a_single_grant(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        first, second = await granted(client, browser), await granted(client, browser)
        older, newer = await list_grants(bench.store, None, now=bench.clock())
        assert [older, newer] == await list_grants(bench.store, "jeff", now=bench.clock())
        assert await list_grants(bench.store, "mia", now=bench.clock()) == []
        ended = {await is_active(bench, tokens["access_token"]) for tokens in (first, second)}
        assert ended == {True}
        assert await revoke_by_operator(bench.store, older.id, now=bench.clock()) == "jeff"
        states = [await is_active(bench, tokens["access_token"]) for tokens in (first, second)]
        assert sorted(states) == [False, True]
        assert await list_grants(bench.store, None, now=bench.clock()) == [newer]
        assert await trail(bench, "consent-withdrawn") == [(StatusCode.OK, "jeff", client.client_id)]
        for gone in (older.id, "unknown"):
            with pytest.raises(NotFoundError):
                await revoke_by_operator(bench.store, gone, now=bench.clock())

    run(tmp_path, check)


def test_an_app_that_logs_out_and_a_token_that_is_used_twice_are_written_down_once(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        tokens = await granted(client, browser)
        for _ in range(2):
            assert (await client.send("/revoke", {"token": tokens["refresh_token"]})).status_code == 200
        assert await trail(bench, "tokens-revoked") == [(StatusCode.OK, "jeff", client.client_id)]
        stolen = (await granted(client, browser))["refresh_token"]
        assert (await client.refresh(stolen)).status_code == 200
        for _ in range(2):
            refused(await client.refresh(stolen), "invalid_grant")
        assert await trail(bench, "token-reused") == [(StatusCode.OK, "jeff", client.client_id)]

    run(tmp_path, check)
