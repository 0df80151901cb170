"""Who may look into the lab console: nobody but the browser that showed the printed token."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fidoloop.server.app import app_of
from fidoloop.server.config import load_config
from fidoloop.server.errors import ConfigError
from fidoloop.server.http.dispatch import Dispatch
from fidoloop.server.lab.access import COOKIE, COOKIE_SECONDS
from fidoloop.server.lab.recording import Recording
from fidoloop.server.lab.routes import lab_routes
from fidoloop.server.routes import make_routes
from tests.server.harness import BASE, JSON, Bench, running
from tests.server.lab.visitor import in_the_lab, lab_of, open_lab
from tests.server.web.visitor import Visitor, visiting

SERVICES = sorted((method, path) for path, methods in lab_routes().items() for method in methods)
GUARDED = [one for one in SERVICES if one[1] not in ("/lab", "/lab/enter")]


def run(home: Path, check: Callable[[Bench, Visitor], Awaitable[None]], *, lab: bool = True) -> None:
    async def scenario() -> None:
        async with running(home, lab=lab) as bench, visiting(bench) as visitor:
            await check(bench, visitor)

    asyncio.run(scenario())


async def ask(visitor: Visitor, method: str, path: str, **headers: str) -> int:
    content = b"{}" if method == "POST" else b""
    sent = ({} if path.endswith("stream") else JSON) | {"content-type": "application/json", "origin": BASE} | headers
    return (await visitor.client.request(method, path, content=content, headers=sent)).status_code


def test_without_the_lab_there_is_nothing_and_nothing_is_in_the_way(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        for method, path in SERVICES:
            assert await ask(visitor, method, path) == 404
        assert bench.environment.lab is None
        assert type(app_of(bench.environment).router.default) is Dispatch
        assert not set(make_routes()) & set(lab_routes())
        described = await visitor.get("/openapi.json")
        assert "/lab" not in described.json()["paths"]

    run(tmp_path, check, lab=False)


def test_with_it_the_application_is_wrapped(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        assert type(app_of(bench.environment).router.default) is Recording
        described = await visitor.get("/openapi.json")
        assert set(lab_routes()) <= set(described.json()["paths"])
        assert "labCookie" in described.json()["components"]["securitySchemes"]

    run(tmp_path, check)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_the_cookie_no_service_answers(tmp_path: Path, method: str, path: str) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        assert await ask(visitor, method, path) == 401
        assert await ask(visitor, method, path, cookie=f"{COOKIE}={'A' * 43}") == 401

    run(tmp_path, check)


def test_the_page_says_nothing_of_the_server(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        answer = await visitor.get("/lab")
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "jeff" not in answer.text
        assert "data-logged-in" not in answer.text
        await open_lab(bench, visitor)
        assert "data-logged-in" in (await visitor.get("/lab")).text

    run(tmp_path, check)


def test_the_token_becomes_a_cookie_once(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        token = lab_of(bench).access.token
        for wrong in (token[:-1], token + "A", "é" * 43):
            assert (await visitor.post("/lab/enter", {"token": wrong})).status_code == 403
        answer = await visitor.post("/lab/enter", {"token": token})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        assert cookie.partition("; ")[2] == f"Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={COOKIE_SECONDS}"
        assert token not in cookie
        assert (await visitor.get("/lab/overview")).status_code == 200
        async with visiting(bench) as other:
            assert (await other.post("/lab/enter", {"token": token})).status_code == 403
            assert (await other.get("/lab/overview")).status_code == 401
        assert (await visitor.get("/lab/overview")).status_code == 200

    run(tmp_path, check)


def test_a_cookie_is_of_no_use_when_it_is_old_or_the_lab_was_shut(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await open_lab(bench, visitor)
        kept = {"cookie": f"{COOKIE}={visitor.client.cookies[COOKIE]}"}
        bench.clock.advance(COOKIE_SECONDS - 1)
        assert (await visitor.get("/lab/overview")).status_code == 200
        assert (await visitor.post("/lab/leave", {})).status_code == 204
        async with visiting(bench) as other:
            assert await ask(other, "GET", "/lab/overview", **kept) == 401

    run(tmp_path / "left", check)

    async def later(bench: Bench, visitor: Visitor) -> None:
        await open_lab(bench, visitor)
        bench.clock.advance(COOKIE_SECONDS)
        assert (await visitor.get("/lab/overview")).status_code == 401

    run(tmp_path / "old", later)


def test_cookie_and_token_end_with_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with in_the_lab(tmp_path) as (bench, visitor):
            cookie, token = visitor.client.cookies[COOKIE], lab_of(bench).access.token
            assert (await visitor.get("/lab/overview")).status_code == 200
        async with running(tmp_path, lab=True, users=()) as again, visiting(again) as visitor_again:
            assert await ask(visitor_again, "GET", "/lab/overview", cookie=f"{COOKIE}={cookie}") == 401
            assert (await visitor_again.post("/lab/enter", {"token": token})).status_code == 403

    asyncio.run(scenario())


FOREIGN = {
    "a name that leads here": {"host": "attacker.example:8443"},
    "an address of this machine": {"host": "127.0.0.1:8443"},
    "another port": {"host": "localhost:9000"},
    "a host with a user": {"host": "localhost@localhost:8443"},
    "a host with a path": {"host": "localhost:8443/lab"},
    "no host": {"host": ""},
    "another page": {"origin": "https://attacker.example"},
    "another port's page": {"origin": "https://localhost:9000"},
    "a page without an origin": {"origin": "null"},
    "plain http": {"origin": "http://localhost:8443"},
    "another site's frame": {"sec-fetch-site": "cross-site"},
    "another site below the same name": {"sec-fetch-site": "same-site"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_no_other_name_and_no_other_page_gets_an_answer(tmp_path: Path, headers: dict[str, str]) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        await open_lab(bench, visitor)
        for method, path in SERVICES:
            assert await ask(visitor, method, path, **headers) in (403, 421), path
        assert (await visitor.get("/lab/overview")).status_code == 200

    run(tmp_path, check)


def test_a_post_without_an_origin_is_refused(tmp_path: Path) -> None:
    async def check(bench: Bench, visitor: Visitor) -> None:
        token = lab_of(bench).access.token
        answer = await visitor.client.post("/lab/enter", json={"token": token})
        assert answer.status_code == 403
        await open_lab(bench, visitor)

    run(tmp_path, check)


def configured(home: Path, **overrides: object) -> None:
    load_config(home, {"lab": True, "base_url": BASE} | overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"host": "0.0.0.0"}, "lab_anywhere"),  # noqa: S104 - what is refused
        ({"workers": 2}, "set workers to 1"),
        ({"base_url": "https://fido.example"}, "lab_anywhere"),
        ({"base_url": "http://fido.example", "insecure": True, "lab_anywhere": True}, "plain http"),
        ({"host": "0.0.0.0", "insecure": True, "lab_anywhere": True}, "loopback"),  # noqa: S104
        ({"web": False}, "web"),
    ],
)
def test_a_lab_that_others_could_reach_is_refused(tmp_path: Path, overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        configured(tmp_path, **overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"host": "::1"},
        {"insecure": True, "base_url": "http://localhost:8443"},
        {"host": "0.0.0.0", "lab_anywhere": True},  # noqa: S104 - what may be
    ],
)
def test_a_lab_on_this_machine_or_by_tls_is_taken(tmp_path: Path, overrides: dict[str, object]) -> None:
    configured(tmp_path, **overrides)
