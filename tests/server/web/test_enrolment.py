"""Enrolment in a browser: by a code that was given out, or by a user for himself; and taken back (HTTP contract 11)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fidoloop.protocol import outofband
from fidoloop.server import admin
from fidoloop.server.web import operations
from tests.server.harness import Bench, running
from tests.server.phone import Phone
from tests.server.web.visitor import Visitor, answer_link, token_in, visiting

Check = Callable[[Bench, Visitor], Awaitable[None]]


def run(home: Path, check: Check) -> None:
    async def scenario() -> None:
        async with running(home) as bench, visiting(bench) as visitor:
            await check(bench, visitor)

    asyncio.run(scenario())


async def given_out(bench: Bench, username: str = "jeff") -> str:
    """A code of `server enrol`."""
    made = await admin.enrol(bench.config, bench.store, username, now=bench.clock())
    return outofband.qr_text(made.payload)


async def enrol(bench: Bench, link: str, phone: Phone) -> int:
    """Scan the code and register, with a dispatch target."""
    returned = await bench.redeem(token_in(link), "registration")
    (request,) = json.loads(returned["uafRequest"])
    answer = await bench.respond("Reg", phone.register(request), {"dispatchTarget": phone.target("new phone")})
    return int(answer["statusCode"])


async def begun(visitor: Visitor, **body: str) -> dict[str, Any]:
    answer = await visitor.post("/web/enrol", body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def owned(bench: Bench, username: str = "jeff") -> tuple[int, int]:
    """How many keys and dispatch targets a user has."""
    keys = await admin.list_credentials(bench.store, username)
    return len(keys), len(await admin.list_targets(bench.store, username))


@pytest.mark.parametrize("by", ["code", "user"])
def test_a_phone_is_enrolled_and_named(tmp_path: Path, by: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        if by == "user":
            await visitor.log_in(bench, await bench.registered())
        shown = await begun(visitor, **({"code": await given_out(bench)} if by == "code" else {}))
        assert shown["username"] == "jeff"
        assert (await visitor.state(shown["id"]))["state"] == "waiting"
        phone = Phone(bench.full)
        assert await enrol(bench, shown["link"], phone) == 1200
        keys = [{"aaid": bench.full.aaid, "keyId": phone.keys[0].text}]
        assert await visitor.state(shown["id"]) == {"state": "succeeded", "keys": keys}
        assert await visitor.finish(shown["id"]) == 403
        assert await visitor.who() == ("jeff" if by == "user" else None)

    run(tmp_path, check)


@pytest.mark.parametrize("by", ["code", "user"])
def test_what_was_enrolled_is_taken_back_once_and_by_its_own_browser_only(tmp_path: Path, by: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        first = await bench.registered()
        if by == "user":
            await visitor.log_in(bench, first)
        shown = await begun(visitor, **({"code": await given_out(bench)} if by == "code" else {}))
        assert (await visitor.post("/web/enrol/undo", {"id": shown["id"]})).status_code == 403
        thief = Phone(bench.full)
        assert await enrol(bench, shown["link"], thief) == 1200
        assert await owned(bench) == (2, 1)
        async with visiting(bench) as other:
            await other.begin()
            assert (await other.post("/web/enrol/undo", {"id": shown["id"]})).status_code == 403
            assert (await other.state(shown["id"])) == {"state": "gone"}
        answers = await asyncio.gather(*(visitor.post("/web/enrol/undo", {"id": shown["id"]}) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [204, 403, 403, 403]
        assert await owned(bench) == (1, 0)
        log_in = await visitor.begin()
        request = json.loads((await bench.redeem(token_in(log_in["link"])))["uafRequest"])[0]
        assert (await bench.respond("Auth", thief.authenticate(request)))["statusCode"] == 1481
        again = await visitor.begin()
        await answer_link(bench, again["link"], first)

    run(tmp_path, check)


async def used(bench: Bench) -> str:
    code = await given_out(bench)
    await bench.redeem(token_in(code), "registration")
    return code


async def expired(bench: Bench) -> str:
    code = await given_out(bench)
    bench.clock.advance(300)
    return code


async def for_a_log_in(bench: Bench) -> str:
    async with visiting(bench) as other:
        return str((await other.begin())["link"])


async def of_a_user_shut_out(bench: Bench) -> str:
    code = await given_out(bench, "mia")
    await admin.disable_user(bench.store, "mia", now=bench.clock())
    return code


async def unknown(bench: Bench) -> str:
    data = {"token": "0" * 36, "redeem_url": "https://localhost:8443/x"}
    return outofband.qr_text(outofband.encode_payload(data, None))


async def text(bench: Bench) -> str:
    return "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("make", "status"),
    [(used, 404), (expired, 404), (for_a_log_in, 404), (of_a_user_shut_out, 404), (unknown, 404), (text, 400)],
)
def test_what_is_no_open_enrolment_is_refused(
    tmp_path: Path, make: Callable[[Bench], Awaitable[str]], status: int
) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        answer = await visitor.post("/web/enrol", {"code": await make(bench)})
        assert answer.status_code == status
        assert "set-cookie" not in answer.headers
        assert "alert" not in answer.text

    run(tmp_path, check)


def test_the_code_that_is_shown_leads_to_this_server_whatever_was_pasted(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        token = token_in(await given_out(bench))
        data = {"token": token, "redeem_url": "https://evil.example/redeem", "note": "hello"}
        pasted = outofband.qr_text(outofband.encode_payload(data, None))
        shown = await begun(visitor, code=pasted)
        content = outofband.open_payload(outofband.decode_scanned(shown["link"]), None)
        assert content.redeem_url == "https://localhost:8443/nevisfido/token/redeem/registration"
        assert set(content.members) == {"token", "redeem_url", "requestContext"}

    run(tmp_path, check)


def test_nobody_adds_a_phone_who_is_not_logged_in(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        assert (await visitor.post("/web/enrol", {})).status_code == 401

    run(tmp_path, check)


def test_an_enrolment_can_be_taken_back_for_a_while_only(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        shown = await begun(visitor, code=await given_out(bench))
        assert await enrol(bench, shown["link"], Phone(bench.full)) == 1200
        bench.clock.advance(operations.KEEP_MILLIS / 1000)
        await operations.purge(bench.store, now=bench.clock())
        assert (await visitor.post("/web/enrol/undo", {"id": shown["id"]})).status_code == 403
        assert await owned(bench) == (1, 1)

    run(tmp_path, check)
