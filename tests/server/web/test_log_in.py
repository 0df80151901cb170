"""The log-in of a browser: by its own pre-login cookie, exchanged once (HTTP contract 11)."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol.uaf.status import AsmStatus, ClientError
from fidoloop.server import admin
from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import One
from fidoloop.server.web import operations
from fidoloop.server.web.cookies import BROWSER, LOGIN, PRE_LOGIN
from fidoloop.server.web.routes import web_routes
from tests.server.harness import BASE, Bench, running
from tests.server.web.visitor import Visitor, answer_link, redeem, token_in, visiting

Check = Callable[[Bench, Visitor], Awaitable[None]]


def run(home: Path, check: Check, **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **options) as bench, visiting(bench) as visitor:
            await check(bench, visitor)

    asyncio.run(scenario())


async def everything_stored(bench: Bench) -> str:
    """All text that the tables of the pages hold."""
    found = []
    for table, columns in {
        "web_operation": "id || purpose || session_id || browser_hash || COALESCE(username, '')",
        "web_login": "cookie_hash || username",
        "web_browser": "cookie_hash || username",
    }.items():
        rows = await bench.store.fetch_all(Query(f"SELECT {columns} FROM {table}", One))  # noqa: S608
        found += [row.value for row in rows]
    return "\n".join(found)


def test_a_browser_is_logged_in_by_whoever_answers_its_code(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        begun = await visitor.begin()
        assert set(begun) == {"id", "now", "link", "qr"}
        assert begun["now"] == bench.clock()
        deadline = bench.clock() + 120_000
        assert await visitor.state(begun["id"]) == {"state": "waiting", "deadline": deadline}
        bench.clock.advance(7)
        request = await redeem(bench, token_in(begun["link"]))
        assert await visitor.state(begun["id"]) == {"state": "redeemed", "deadline": deadline + 7000}
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        assert await visitor.state(begun["id"]) == {"state": "succeeded"}
        assert await visitor.who() is None
        answer = await visitor.post("/web/login/finish", {"id": begun["id"]})
        assert (answer.status_code, answer.json()) == (200, {"username": "jeff"})
        assert await visitor.who() == "jeff"
        account = (await visitor.get("/web/account")).json()
        (key,) = account.pop("keys")
        assert account.pop("devices") == []
        assert account == {"username": "jeff", "since": bench.clock(), "until": bench.clock() + 8 * 3_600_000}
        used = {"registeredAt": key["registeredAt"], "lastUsedAt": bench.clock(), "counter": key["counter"]}
        assert key == used | {
            "aaid": bench.full.aaid,
            "keyId": phone.keys[0].text,
            "description": "test authenticator",
            "keyProtection": ["software"],
            "userVerification": ["passcode"],
            "current": True,
        }

    run(tmp_path, check)


def test_cookies_are_bound_to_the_host_hidden_from_scripts_and_kept_as_hashes_only(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        answer = await visitor.post("/web/login", {"by": "qr"})
        await answer_link(bench, answer.json()["link"], phone)
        finished = await visitor.post("/web/login/finish", {"id": answer.json()["id"], "remember": True})
        headers = [*answer.headers.get_list("set-cookie"), *finished.headers.get_list("set-cookie")]
        parsed = {header.partition("=")[0]: header for header in headers}
        assert set(parsed) == {PRE_LOGIN, LOGIN, BROWSER}
        for name, header in parsed.items():
            assert name.startswith("__Host-")
            pair, *attributes = header.split("; ")
            assert {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"} <= set(attributes)
            assert not any(attribute.lower().startswith("domain") for attribute in attributes)
            value = pair.partition("=")[2]
            stored = await everything_stored(bench)
            if value:
                assert len(value) == 43
                assert value not in stored
                assert hashlib.sha256(value.encode()).hexdigest() in stored
        assert parsed[PRE_LOGIN].startswith(f"{PRE_LOGIN}=; ")
        assert parsed[PRE_LOGIN].endswith("Max-Age=0")

    run(tmp_path, check)


def test_the_session_is_not_shown_and_is_told_apart_from_the_operation(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        begun = await visitor.begin()
        request = await redeem(bench, token_in(begun["link"]))
        session_id = request["header"]["exts"][0]["data"]
        assert session_id not in json.dumps(begun)
        assert (await bench.status(begun["id"]))["status"] == "unknown"
        assert (await visitor.state(session_id))["state"] == "gone"
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        assert await visitor.finish(session_id) == 403

    run(tmp_path, check)


@pytest.mark.parametrize("who", ["no cookie", "another browser", "a cookie of one's own making"])
def test_a_log_in_is_watched_cancelled_and_finished_by_its_own_browser_only(tmp_path: Path, who: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        async with visiting(bench) as thief:
            if who == "another browser":
                await thief.begin()
            if who == "a cookie of one's own making":
                thief.client.cookies.set(PRE_LOGIN, "A" * 43, domain="localhost.local")
            begun = await visitor.begin()
            assert await thief.state(begun["id"]) == {"state": "gone"}
            stream = await thief.post("/web/operation/stream", {"id": begun["id"]}, accept="text/event-stream")
            assert stream.text == 'event: status\ndata: {"state":"gone"}\n\n'
            assert (await thief.post("/web/operation/cancel", {"id": begun["id"]})).status_code == 204
            assert (await visitor.state(begun["id"]))["state"] == "waiting"
            await answer_link(bench, begun["link"], phone)
            assert await thief.finish(begun["id"]) == 403
            assert await thief.who() is None
            assert await visitor.finish(begun["id"]) == 200

    run(tmp_path, check)


def test_a_pre_login_cookie_that_the_server_did_not_give_out_is_replaced(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        planted = "A" * 43
        answer = await visitor.post("/web/login", {"by": "qr"}, cookie=f"{PRE_LOGIN}={planted}")
        given = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
        assert given != planted
        again = await visitor.post("/web/login", {"by": "qr"}, cookie=f"{PRE_LOGIN}={given}; {PRE_LOGIN}={planted}")
        assert given not in again.headers["set-cookie"]

    run(tmp_path, check)


def test_two_tabs_wait_side_by_side_and_the_first_that_succeeds_ends_the_other(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        first, second = await visitor.begin(), await visitor.begin()
        for begun in (first, second):
            assert (await visitor.state(begun["id"]))["state"] == "waiting"
        await answer_link(bench, first["link"], phone)
        assert await visitor.finish(first["id"]) == 200
        await answer_link(bench, second["link"], phone)
        assert await visitor.state(second["id"]) == {"state": "gone"}
        assert await visitor.finish(second["id"]) == 403

    run(tmp_path, check)


def test_a_log_in_is_exchanged_once_however_many_try(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        begun = await visitor.begin()
        cookie = f"{PRE_LOGIN}={visitor.client.cookies[PRE_LOGIN]}"
        await answer_link(bench, begun["link"], phone)
        body = {"id": begun["id"]}
        answers = await asyncio.gather(*(visitor.post("/web/login/finish", body, cookie=cookie) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] + [403] * 7
        late = await visitor.post("/web/login/finish", body, cookie=cookie)
        assert late.status_code == 403

    run(tmp_path, check)


def test_what_did_not_succeed_cannot_be_exchanged_nor_what_succeeded_long_ago(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        begun = await visitor.begin()
        assert await visitor.finish(begun["id"]) == 403
        request = await redeem(bench, token_in(begun["link"]))
        assert await visitor.finish(begun["id"]) == 403
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        bench.clock.advance(operations.EXCHANGE_MILLIS / 1000)
        assert await visitor.finish(begun["id"]) == 403

    run(tmp_path, check)


def test_logging_in_again_ends_what_the_browser_was_logged_in_as(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await visitor.log_in(bench, await bench.registered("jeff"))
        before = visitor.client.cookies[LOGIN]
        await visitor.log_in(bench, await bench.registered("mia"))
        assert await visitor.who() == "mia"
        async with visiting(bench) as thief:
            thief.client.cookies.set(LOGIN, before, domain="localhost.local")
            assert await thief.who() is None

    run(tmp_path, check)


@pytest.mark.parametrize("end", ["logged out", "expired", "disabled", "key revoked"])
def test_a_log_in_cookie_is_worth_nothing_once_its_log_in_is_over(tmp_path: Path, end: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        await visitor.log_in(bench, phone)
        copied = visitor.client.cookies[LOGIN]
        async with visiting(bench) as thief:
            thief.client.cookies.set(LOGIN, copied, domain="localhost.local")
            assert await thief.who() == "jeff"
            if end == "logged out":
                assert (await visitor.post("/web/logout", {})).status_code == 204
                assert LOGIN not in visitor.client.cookies
            elif end == "expired":
                bench.clock.advance(8 * 3600)
            elif end == "disabled":
                await admin.disable_user(bench.store, "jeff", now=bench.clock())
            else:
                (key,) = await admin.list_credentials(bench.store, "jeff")
                await admin.revoke_credential(bench.store, key.key_id, now=bench.clock())
            assert await thief.who() is None
            assert await visitor.who() is None
            assert (await visitor.get("/account")).headers["location"] == "/"

    run(tmp_path, check)


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", f"{BASE}.evil.example", "http://localhost:8443", ""]
)
def test_nothing_is_posted_from_elsewhere(tmp_path: Path, origin: str | None) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        await visitor.log_in(bench, phone, remember=True)
        before = await everything_stored(bench)
        headers = {"content-type": "application/json"} | ({} if origin is None else {"origin": origin})
        members = {"by": "qr", "id": "x", "text": "x", "aaid": bench.full.aaid, "keyId": phone.keys[0].text}
        paths = [path for path, methods in web_routes().items() if "POST" in methods]
        assert {"/web/login", "/web/keys/remove", "/web/enrol", "/web/confirm"} < set(paths)
        for path in paths:
            answer = await visitor.client.post(path, content=json.dumps(members), headers=headers)
            assert answer.status_code == 403, path
            assert BASE in answer.json()["detail"]
            assert "set-cookie" not in answer.headers
            assert await everything_stored(bench) == before
        assert await visitor.who() == "jeff"

    run(tmp_path, check)


def test_a_form_cannot_post(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
            answer = await visitor.post("/web/logout", {}, **{"content-type": kind})
            assert answer.status_code == 415

    run(tmp_path, check)


def test_nothing_is_cached_framed_or_loaded_from_elsewhere(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        outside = [
            await visitor.get(path) for path in ("/", "/account", "/web/static/login.js", "/web/static/fidoloop.css")
        ]
        await visitor.log_in(bench, await bench.registered())
        inside = [await visitor.get(path) for path in ("/", "/account")]
        for answer in (*outside, *inside):
            policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert policy["form-action"] == "'none'"
            assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
            assert answer.headers["x-frame-options"] == "DENY"
            if answer.headers.get("content-type", "").startswith("text/html"):
                assert answer.headers["cross-origin-opener-policy"] == "same-origin"
            assert answer.headers["referrer-policy"] == "no-referrer"
        for answer in (
            *outside,
            *inside,
            await visitor.get("/web/account"),
            await visitor.post("/web/login", {"by": "qr"}),
        ):
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"

    run(tmp_path, check)


ENDS: list[tuple[dict[str, int], str]] = [
    ({"clientErrorCode": ClientError.USER_CANCELLED}, "declined"),
    ({"asmStatusCode": AsmStatus.ACCESS_DENIED}, "declined"),
    ({"clientErrorCode": ClientError.USER_NOT_RESPONSIVE}, "timedOut"),
    ({"clientErrorCode": ClientError.USER_LOCKOUT}, "lockedOut"),
    ({"asmStatusCode": AsmStatus.USER_LOCKOUT}, "lockedOut"),
    ({"clientErrorCode": ClientError.NO_SUITABLE_AUTHENTICATOR}, "noAuthenticator"),
    ({"clientErrorCode": ClientError.KEY_DISAPPEARED_PERMANENTLY}, "noAuthenticator"),
    ({"clientErrorCode": ClientError.PROTOCOL_ERROR}, "refused"),
    ({}, "refused"),
]


@pytest.mark.parametrize(("codes", "reason"), ENDS)
def test_each_bad_end_has_its_reason(tmp_path: Path, codes: dict[str, int], reason: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        begun = await visitor.begin()
        request = await redeem(bench, token_in(begun["link"]))
        await bench.respond("Auth", phone.give_up(request), codes)
        assert await visitor.state(begun["id"]) == {"state": "failed", "reason": reason}
        assert await visitor.finish(begun["id"]) == 403

    run(tmp_path, check)


@pytest.mark.parametrize("redeemed", [False, True])
def test_time_runs_out(tmp_path: Path, redeemed: bool) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await bench.registered()
        begun = await visitor.begin()
        if redeemed:
            await redeem(bench, token_in(begun["link"]))
        bench.clock.advance(120)
        assert await visitor.state(begun["id"]) == {"state": "failed", "reason": "timedOut"}

    run(tmp_path, check)


def test_a_cancelled_code_is_worth_nothing_and_a_cancelled_request_is_answered_in_vain(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        phone = await bench.registered()
        shown = await visitor.begin()
        taken = await visitor.begin()
        request = await redeem(bench, token_in(taken["link"]))
        for begun in (shown, taken):
            assert (await visitor.post("/web/operation/cancel", {"id": begun["id"]})).status_code == 204
            assert await visitor.state(begun["id"]) == {"state": "failed", "reason": "withdrawn"}
        assert (await bench.redeem(token_in(shown["link"])))["statusCode"] == 1403
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1491
        assert await visitor.finish(taken["id"]) == 403

    run(tmp_path, check)


def test_what_is_of_no_more_use_is_purged(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await visitor.log_in(bench, await bench.registered(), remember=True)
        await visitor.begin()
        await visitor.begin("push", username="jeff")
        bench.clock.advance(operations.KEEP_MILLIS / 1000 - 1)
        await operations.purge(bench.store, now=bench.clock())
        assert (await everything_stored(bench)).count("\n") == 3
        bench.clock.advance(1)
        await operations.purge(bench.store, now=bench.clock())
        assert (await everything_stored(bench)).count("\n") == 1
        bench.clock.advance(8 * 3600)
        await operations.purge(bench.store, now=bench.clock())
        assert (await everything_stored(bench)).count("\n") == 0
        bench.clock.advance(90 * 24 * 3600)
        await operations.purge(bench.store, now=bench.clock())
        assert await everything_stored(bench) == ""

    run(tmp_path, check)


def test_the_pages_can_be_turned_off(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        for path in ("/", "/account", "/web/static/login.js", "/web/account"):
            assert (await visitor.get(path)).status_code == 404
        assert (await visitor.post("/web/login", {"by": "qr"})).status_code == 404

    run(tmp_path, check, web=False)


def test_without_links_no_code_is_shown(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        answer = await visitor.post("/web/login", {"by": "qr"})
        assert (answer.status_code, answer.json()["detail"]) == (503, "no code can be shown: dispatcherNotFound")

    run(tmp_path, check, dispatchers=("png-qr-code",))
