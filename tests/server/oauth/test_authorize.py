"""The authorization endpoint and its page's services through HTTP: who may answer, what the client gets."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.uaf.registry import KeyProtection
from fidoloop.server import admin
from fidoloop.server.oauth.grants import purge
from fidoloop.server.settings.oauth import OAuthSettings
from fidoloop.server.store import oauth_queries
from tests.server.harness import BASE, JSON, Bench
from tests.server.oauth.browser_flow import (
    METADATA,
    OTHER_REDIRECT,
    REDIRECT,
    STATE,
    Consenting,
    asking,
    consenting,
    pushed,
    refused_to_client,
    run,
    sent_back,
)
from tests.server.oauth.client import OAuthClient, new_client, write_policy
from tests.server.oauth.test_token_endpoint import count, refused
from tests.server.passkeys import enrolled
from tests.server.web.test_passkeys import log_in as log_in_by_passkey

COOKIE = "__Host-fidoloop-authorize"


def plain(client: OAuthClient, **changes: str | None) -> str:
    return urlencode(asking(client, **changes))


async def plainly(client: OAuthClient, **changes: str | None) -> str:
    return plain(client, **changes)


def test_a_plain_request_ends_in_tokens_of_the_browsers_log_in(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        began = bench.clock() // 1000
        bench.clock.advance(120)
        await client.fresh()
        query = plain(client)
        page = await browser.page(query)
        assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "set-cookie" not in page.headers
        assert not any(value in page.text for value in (client.client_id, "Photo", "jeff", "n-1"))
        opened = await browser.open(query)
        assert (opened["client"], opened["destination"]) == ("Photo <app>", "app.example")
        assert (opened["scopes"], opened["username"]) == (["openid", "api"], "jeff")
        back = sent_back((await browser.decide(opened)).json()["location"])
        assert (back["state"], back["iss"]) == (STATE, BASE)
        answer = await client.redeem(back["code"], redirect_uri=REDIRECT)
        assert answer.status_code == 200, answer.text
        said = strictjson.loads(jose.parse_compact(answer.json()["id_token"]).payload)
        assert (said["sub"], said["aud"], said["nonce"]) == ("jeff", client.client_id, "n-1")
        assert (said["acr"], said["auth_time"]) == ("uaf", began)

    run(tmp_path, check)


@pytest.mark.parametrize("ask", [plainly, pushed])
def test_an_app_on_this_machine_comes_with_any_port(tmp_path: Path, ask: Callable[..., Awaitable[str]]) -> None:
    """RFC 8252 section 7.3; the token request repeats the very URI."""

    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        local = await new_client(bench, redirect_uris=["http://127.0.0.1/callback"])
        uri = "http://127.0.0.1:4711/callback"
        answer = await browser.decide(await browser.open(await ask(local, redirect_uri=uri)))
        code = sent_back(answer.json()["location"], uri)["code"]
        refused(await local.redeem(code, redirect_uri="http://127.0.0.1/callback"), "invalid_grant")
        tokens = await local.redeem(code, redirect_uri=uri)
        assert tokens.status_code == 200, tokens.text

    run(tmp_path, check)


def test_without_a_state_none_comes_back(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        assert set(await browser.allowed(plain(client, state=None))) == {"code", "iss"}

    run(tmp_path, check)


def test_the_code_is_bound_to_key_verifier_redirect_uri_and_client(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        code = (await browser.allowed(await pushed(client)))["code"]
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43, "redirect_uri": REDIRECT}
        thief = client.proof("/token", key=ec.generate_private_key(ec.SECP256R1()))
        refused(await client.send("/token", form, client.headers("/token", dpop=thief)), "invalid_dpop_proof")
        bare = {name: value for name, value in form.items() if name != "code_verifier"}
        refused(await client.send("/token", bare), "invalid_grant")
        refused(await client.redeem(code, redirect_uri=REDIRECT, code_verifier="w" * 43), "invalid_grant")
        refused(await client.redeem(code), "invalid_grant")
        for uri in (OTHER_REDIRECT, REDIRECT.removesuffix("p"), f"{REDIRECT}&x=y"):
            refused(await client.redeem(code, redirect_uri=uri), "invalid_grant")
        # A code that another client was mixed up with: it names its issuer, and is of no use to anybody else.
        stranger = await new_client(bench, **METADATA)
        refused(await stranger.redeem(code, redirect_uri=REDIRECT), "invalid_grant")
        answer = await client.redeem(code, redirect_uri=REDIRECT)
        assert answer.status_code == 200, answer.text
        refused(await client.redeem(code, redirect_uri=REDIRECT), "invalid_grant")
        refused(await client.refresh(answer.json()["refresh_token"]), "invalid_grant")

    run(tmp_path, check)


def test_the_key_may_be_another_than_the_one_the_client_registered_with(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        code = (await browser.allowed(plain(client, dpop_jkt=jose.public_jwk(key.public_key()).thumbprint)))["code"]
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": "v" * 43, "redirect_uri": REDIRECT}
        refused(await client.send("/token", form), "invalid_dpop_proof")
        fields = client.headers("/token", dpop=client.proof("/token", key=key))
        answer = await client.send("/token", form, fields)
        assert answer.status_code == 200, answer.text

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "id_token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"dpop_jkt": None}, "invalid_request"),
        ({"dpop_jkt": "!" * 43}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"acr_values": "password"}, "unmet_authentication_requirements"),
        ({"max_age": "x"}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
    ],
)
def test_what_cannot_be_is_told_to_the_client(tmp_path: Path, changes: dict[str, str | None], code: str) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        query = plain(client, **changes)
        back = refused_to_client(await browser.page(query))
        assert (back["error"], back["state"], back["iss"]) == (code, STATE, BASE)
        assert "code" not in back
        await browser.open(query, 400)
        assert await count(bench, "oauth_request") == 0

    run(tmp_path, check)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "unknown"},
        {"client_id": "<script>alert(1)</script>"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "https://app.example/callback"},
        {"redirect_uri": "https://app.example/callback?from=fidoloop#"},
        {"redirect_uri": "javascript:alert(1)"},
        {"request_uri": "urn:ietf:params:oauth:request_uri:unknown"},
        {"request_uri": "https://evil.example/request"},
    ],
)
def test_an_unknown_client_or_redirect_uri_sends_nobody_anywhere(
    tmp_path: Path, changes: dict[str, str | None]
) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        query = plain(client, **changes)
        answer = await browser.page(query)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
        assert "location" not in answer.headers
        assert "evil" not in answer.text
        assert "<script" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        await browser.open(query, 400)

    run(tmp_path, check)


def test_a_parameter_that_stands_twice_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        for name in ("client_id", "redirect_uri"):
            answer = await browser.page(f"{plain(client)}&{name}={asking(client)[name]}")
            assert (answer.status_code, "location" in answer.headers) == (400, False)
        query = await pushed(client)
        assert (await browser.page(f"{query}&{query.partition('&')[2]}")).status_code == 400
        back = refused_to_client(await browser.page(f"{plain(client)}&scope=api"))
        assert (back["error"], back["state"]) == ("invalid_request", STATE)
        back = refused_to_client(await browser.page(f"{plain(client)}&state=another"))
        assert (back["error"], "state" in back) == ("invalid_request", False)
        assert (await browser.page("%")).status_code == 400
        assert (await browser.page("&".join(f"a{number}=b" for number in range(65)))).status_code == 400

    run(tmp_path, check)


def test_a_client_that_pushes_its_requests_is_held_to_that(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        strict = await new_client(bench, **METADATA, require_pushed_authorization_requests=True)
        back = refused_to_client(await browser.page(plain(strict)))
        assert (back["error"], back["error_description"]) == ("invalid_request", "the client pushes its requests")
        assert "code" in await browser.allowed(await pushed(strict))

    run(tmp_path, check)


def test_a_pushed_request_is_good_once_for_its_client_and_what_else_stands_in_the_query_is_nothing(
    tmp_path: Path,
) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        stranger = await new_client(bench, **METADATA)
        query = await pushed(client)
        stolen = query.replace(client.client_id, stranger.client_id)
        assert (await browser.page(stolen)).status_code == 400
        await browser.open(stolen, 400)
        opened = await browser.open(f"{query}&redirect_uri=https%3A%2F%2Fevil.example&scope=admin&state=other")
        assert (opened["destination"], opened["scopes"]) == ("app.example", ["openid", "api"])
        back = sent_back((await browser.decide(opened)).json()["location"])
        assert back["state"] == STATE
        assert (await browser.page(query)).status_code == 400
        await browser.open(query, 400)
        assert (await browser.decide(opened)).status_code == 403
        assert await count(bench, "oauth_code") == 1

    run(tmp_path, check)


def test_of_many_answers_to_one_request_one_is_taken(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        opened = await browser.open(await pushed(client))
        answers = await asyncio.gather(*(browser.decide(opened, allow=number % 2 == 0) for number in range(6)))
        assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403, 403, 403]
        assert await count(bench, "oauth_code") <= 1

    run(tmp_path, check, database=database)


def test_of_many_browsers_that_open_one_request_one_has_it(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        query = await pushed(client)
        async with consenting(bench) as second, consenting(bench) as third:
            opening = (one.post("/web/authorize", {"query": query}) for one in (browser, second, third))
            answers = await asyncio.gather(*opening)
            assert sorted(answer.status_code for answer in answers) == [200, 403, 403]

    run(tmp_path, check, database=database)


def test_opening_the_page_changes_nothing_and_it_can_be_opened_again_by_the_same_browser_only(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        query = await pushed(client)
        async with consenting(bench) as other:
            assert (await other.page(query)).status_code == 200
            first = await browser.open(query)
            assert await browser.open(query) == first
            assert "this request is" in (await other.open(query, 403))["detail"]
            await other.log_in(bench, await bench.registered("mia"))
            await other.open(await pushed(client))
            # mia would like jeff's app to act in her name, or the other way round.
            assert (await other.decide(first, username="mia")).status_code == 403
            assert await count(bench, "oauth_code") == 0
        assert "code" in sent_back((await browser.decide(first)).json()["location"])

    run(tmp_path, check)


def test_two_tabs_of_a_browser_wait_side_by_side(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        first, second = await browser.open(await pushed(client)), await browser.open(plain(client))
        assert first["id"] != second["id"]
        for opened in (second, first):
            assert "code" in sent_back((await browser.decide(opened)).json()["location"])

    run(tmp_path, check)


def test_nobody_chooses_a_browsers_cookie(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        chosen = {"cookie": f"{COOKIE}={'x' * 43}"}
        answer = await browser.post("/web/authorize", {"query": plain(client)}, **chosen)
        kept = answer.headers["set-cookie"]
        assert kept.startswith(f"{COOKIE}=")
        assert "x" * 43 not in kept
        assert kept.endswith("; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=600")

    run(tmp_path, check)


def test_only_the_servers_own_pages_open_and_answer(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        query = await pushed(client)
        await browser.open(query, 403, origin="https://evil.example")
        await browser.open(query, 403, origin="null")
        opened = await browser.open(query)
        body = strictjson.encode({"id": opened["id"], "allow": True, "username": "jeff"})
        for origin in ({"origin": "https://app.example"}, {}):
            answer = await browser.client.post("/web/authorize/decide", content=body, headers=JSON | origin)
            assert answer.status_code == 403
        form = {"content-type": "application/x-www-form-urlencoded", "origin": BASE}
        assert (await browser.client.post("/web/authorize/decide", content="id=x", headers=form)).status_code == 415
        assert await count(bench, "oauth_code") == 0

    run(tmp_path, check)


def test_a_no_is_told_to_the_client_and_needs_no_log_in(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        opened = await browser.open(plain(client))
        assert "username" not in opened
        back = sent_back((await browser.decide(opened, allow=False)).json()["location"])
        assert (back["error"], back["state"], back["iss"]) == ("access_denied", STATE, BASE)
        assert (await browser.decide(opened, allow=False)).status_code == 403

    run(tmp_path, check, logged_in=False)


def test_a_yes_needs_the_log_in_that_the_page_showed(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        opened = await browser.open(await pushed(client))
        assert (await browser.decide(opened)).status_code == 401
        await browser.log_in(bench, await bench.registered("mia"))
        # The request that was there before the log-in is still this browser's.
        again = await browser.open(opened["query"])
        assert (again["id"], again["username"]) == (opened["id"], "mia")
        assert (await browser.decide(opened, username="jeff")).status_code == 403
        await admin.disable_user(bench.store, "mia", now=bench.clock())
        assert (await browser.decide(opened, username="mia")).status_code == 401
        assert await count(bench, "oauth_code") == 0

    run(tmp_path, check, logged_in=False)


def test_a_person_has_only_so_long_to_answer(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        query = await pushed(client)
        opened = await browser.open(query)
        bench.clock.advance(99)
        await browser.open(query)  # which does not begin its time anew
        bench.clock.advance(1)
        assert (await browser.decide(opened)).status_code == 403
        await purge(bench.store, now=bench.clock())
        assert await count(bench, "oauth_request") == 0

    run(tmp_path, check, oauth=OAuthSettings(authorization_request=100))


@pytest.mark.parametrize("acr", ["fido2", "web fido2-hw", "fido2-hw fido2"])
def test_a_log_in_by_passkey_says_so(tmp_path: Path, acr: str) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        passkey = await enrolled(bench, "mia")
        query = plain(client, acr_values=acr)
        opened = await browser.open(query)
        if acr != "web fido2-hw":
            assert (opened["username"], opened["acr"]) == ("jeff", acr.split())
            assert (await browser.decide(opened)).status_code == 403
        assert await log_in_by_passkey(browser, passkey) == 200
        answer = await client.redeem((await browser.allowed(query))["code"], redirect_uri=REDIRECT)
        said = strictjson.loads(jose.parse_compact(answer.json()["id_token"]).payload)
        assert (said["sub"], said["acr"]) == ("mia", "fido2")

    run(tmp_path, check)


@pytest.mark.parametrize("way", [pushed, plainly])
@pytest.mark.parametrize(
    ("changes", "again"), [({"max_age": "60"}, True), ({"max_age": "61"}, False), ({"prompt": "login"}, True)]
)
def test_a_log_in_that_is_too_old_is_asked_for_anew(
    tmp_path: Path, changes: dict[str, str], again: bool, way: Callable[..., Awaitable[str]]
) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        bench.clock.advance(61)
        await client.fresh()
        opened = await browser.open(await way(client, **changes))
        assert ("acr" in opened) == again
        assert (await browser.decide(opened)).status_code == (403 if again else 200)
        if again:
            bench.clock.advance(2)
            await browser.log_in(bench, await bench.registered("mia"))
            async with consenting(bench) as other:
                await other.open(opened["query"], 403)
            # The same request, not one of now, than which this log-in would be older.
            bench.clock.advance(2)
            assert "code" in await browser.allowed(opened["query"])

    run(tmp_path, check)


def test_hardware_that_is_vouched_for_does_what_asks_for_hardware(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        write_policy(bench, {"rules": [{"name": "any", "grants": {"acr": ["uaf-hw"], "scopes": ["openid", "api"]}}]})
        await client.fresh()
        query = await pushed(client, acr_values="uaf-hw")
        opened = await browser.open(query)  # the model's statement says: software
        assert opened["acr"] == ["uaf-hw"]
        assert (await browser.decide(opened)).status_code == 403
        statement = bench.config.home / "metadata" / f"{bench.full.aaid.replace('#', '-')}.json"
        hardware = {"keyProtection": int(KeyProtection.HARDWARE | KeyProtection.SECURE_ELEMENT)}
        statement.write_text(json.dumps(bench.full.metadata() | hardware))
        bench.clock.advance(2)
        await client.fresh()
        answer = await client.redeem((await browser.allowed(query))["code"], redirect_uri=REDIRECT)
        assert strictjson.loads(jose.parse_compact(answer.json()["id_token"]).payload)["acr"] == "uaf-hw"

    run(tmp_path, check)


def test_the_device_policy_holds_at_the_token_endpoint(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        code = (await browser.allowed(plain(client, scope="openid admin")))["code"]
        refused(await client.redeem(code, redirect_uri=REDIRECT), "invalid_scope")
        code = (await browser.allowed(plain(client)))["code"]
        write_policy(bench, {"rules": [{"name": "any", "grants": {"acr": ["fido2"], "scopes": ["openid", "api"]}}]})
        await client.fresh()
        refused(await client.redeem(code, redirect_uri=REDIRECT), "insufficient_authorization", 403)
        write_policy(bench, {"rules": [{"name": "none"}]})
        await client.fresh()
        refused(await client.redeem(code, redirect_uri=REDIRECT), "invalid_client_attestation", 401)

    run(tmp_path, check)


def test_a_client_that_is_gone_or_lost_its_redirect_uri_gets_nothing(tmp_path: Path) -> None:
    async def check(bench: Bench, client: OAuthClient, browser: Consenting) -> None:
        opened, query = await browser.open(await pushed(client)), await pushed(client)
        row = await bench.store.fetch_one(oauth_queries.CLIENT, id=client.client_id)
        assert row is not None
        await bench.store.execute(
            oauth_queries.CHANGE_CLIENT,
            id=row.id,
            jkt=row.jkt,
            jwk=row.jwk,
            auth_method=row.auth_method,
            metadata='{"redirect_uris": ["https://new.example/"]}',
            device=row.device,
        )
        assert (await browser.decide(opened)).status_code == 403
        assert (await browser.page(query)).status_code == 400
        await bench.store.execute(oauth_queries.REVOKE_CLIENT, id=row.id, now=bench.clock())
        assert (await browser.decide(opened)).status_code == 403
        assert (await browser.page(query)).status_code == 400
        assert await count(bench, "oauth_code") == 0

    run(tmp_path, check)
