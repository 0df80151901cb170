"""Every service that is limited, broken over two workers, on SQLite and on PostgreSQL."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import msgspec
import pytest

from fidoloop.server import admin
from fidoloop.server.app import create_app
from fidoloop.server.routes import make_routes
from fidoloop.server.settings.declared import WebPush
from fidoloop.server.settings.rate_limits import RateLimitSettings
from fidoloop.server.store.open import open_store
from tests.server.harness import BASE, JSON, UAF, Bench, running
from tests.server.oauth.client import FORM, new_client, write_policy
from tests.server.oauth.test_challenge import ALL, ASK
from tests.server.web.test_pushes import Postbox, postbox, reachable

__all__ = ["postbox"]  # a fixture
FAR = "198.51.100.7"
REQUESTS = "too many requests from this address"


@asynccontextmanager
async def two_workers(bench: Bench) -> AsyncIterator[Iterator[httpx2.AsyncClient]]:
    """Clients of two workers on one store, in turn."""
    async with AsyncExitStack() as stack:
        other = await open_store(bench.config.database)
        stack.push_async_callback(other.close)
        apps = [create_app(bench.config, store, clock=bench.clock) for store in (bench.store, other)]
        clients = []
        for app in apps:
            transport = httpx2.ASGITransport(app=app)
            clients.append(await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url=BASE)))
        yield cycle(clients)


Check = Callable[[Bench, Iterator[httpx2.AsyncClient]], Awaitable[None]]


def run(
    home: Path, database: str, check: Check, *, more: Mapping[str, Any] = MappingProxyType({}), **most: int
) -> None:
    """Have two workers with limits of `most`, behind a proxy that they trust, and other settings of theirs."""

    async def whole() -> None:
        limits = msgspec.convert({**most, "exempt": [], "trusted_proxies": ["127.0.0.0/8"]}, RateLimitSettings)
        async with running(home, database=database, rate_limits=limits, **more) as bench, two_workers(bench) as workers:
            await check(bench, workers)

    asyncio.run(whole())


ROUTES = [
    (method, path, endpoint) for path, methods in make_routes(lab=False).items() for method, endpoint in methods.items()
]


FIDO2 = ("/nevisfido/fido2/", "/jans-fido2/restv1/")
OAUTH = (
    "/jans-auth/",
    "/token",
    "/challenge",
    "/introspect",
    "/revoke",
    "/attester/",
    "/register",
    "/par",
    "/auth",
    "/assertion",
)


def told_in_the_words_of_its_api(path: str, answer: httpx2.Response) -> str:
    """Check a refusal; return which API's it is."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["retry-after"] == "30"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    if path.startswith(FIDO2):
        assert (body["status"], body["errorMessage"]) == ("failed", f"{REQUESTS}; try again in 30 s")
        return "FIDO2"
    if path.startswith(OAUTH) and path != "/authorize":
        assert body == {"error": "too_many_attempts", "error_description": f"{REQUESTS}; try again in 30 s"}
        return "OAuth"
    assert answer.headers["content-type"] == "application/problem+json"
    assert (body["title"], body["status"], body["detail"]) == (
        "Too Many Requests",
        429,
        f"{REQUESTS}; try again in 30 s",
    )
    return "problem"


def test_every_open_service_is_limited_by_address(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, workers: Iterator[httpx2.AsyncClient]) -> None:
        limited, unlimited, shapes = 0, set(), Counter[str]()
        for number, (method, path, endpoint) in enumerate(ROUTES):
            headers = {"x-forwarded-for": f"198.51.100.{number}", "content-type": endpoint.consumes or FORM}
            headers["accept"] = endpoint.produces or "*/*"
            url = path.replace("*", "one")
            answers = [await next(workers).request(method, url, content=b"{}", headers=headers) for _ in range(3)]
            statuses = [answer.status_code for answer in answers]
            if not endpoint.limited and path != "/introspect":
                unlimited.add(path)
                assert 429 not in statuses
                continue
            assert 429 not in statuses[:2], (path, statuses)
            shapes[told_in_the_words_of_its_api(path, answers[2])] += 1
            limited += 1
            if endpoint.credential or path == "/introspect":
                assert statuses[:2] == [401, 401]
                answer = await next(workers).request(method, url, content=b"{}", headers=headers | bench.api)
                assert answer.status_code not in (401, 429), "holders of API credentials are not limited"
        assert unlimited == {"/healthz", "/readyz", "/metrics"}
        assert limited == len(ROUTES) - 3
        assert set(shapes) == {"problem", "FIDO2", "OAuth"}

    run(tmp_path, database, check, requests=2)


FORMS = {"content-type": FORM}
BEGINNINGS: dict[str, tuple[str, object, dict[str, str]]] = {
    "uaf": ("/nevisfido/uaf/1.1/request/authentication", {"op": "Auth", "context": "{}"}, UAF),
    "fido2": ("/nevisfido/fido2/attestation/options", {"username": "jeff"}, JSON),
    "jans": ("/jans-fido2/restv1/assertion/options", {"username": "jeff"}, JSON),
    "page": ("/web/login", {"by": "qr"}, JSON | {"origin": BASE}),
    "page, passkey": ("/web/passkey/options", {}, JSON | {"origin": BASE}),
    "page, authorize": ("/web/authorize", {"query": ""}, JSON | {"origin": BASE}),
    "registration": ("/register", {}, JSON),
    "pushed request": ("/par", {}, FORMS),
    "challenge": ("/authorize-challenge", {}, FORMS),
    "challenge, Janssen's": ("/authz-challenge", {}, FORMS),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_whoever_needs_no_credential_begins_so_much_only(tmp_path: Path, database: str, name: str) -> None:
    path, body, headers = BEGINNINGS[name]
    content = b"" if headers is FORMS else json.dumps(body).encode()

    async def check(bench: Bench, workers: Iterator[httpx2.AsyncClient]) -> None:
        async def ask(address: str, **more: str) -> int:
            sent = headers | more | {"x-forwarded-for": address}
            return (await next(workers).post(path, content=content, headers=sent)).status_code

        assert 429 not in [await ask(FAR) for _ in range(2)]
        assert [await ask(FAR) for _ in range(3)] == [429] * 3
        assert await ask("198.51.100.8") != 429
        bench.clock.advance(30)
        assert await ask(FAR) != 429
        assert await ask(FAR) == 429

    run(tmp_path, database, check, begun=2)


def test_authentications_of_named_users_are_for_holders_of_credentials_and_not_counted(
    tmp_path: Path, database: str
) -> None:
    async def check(bench: Bench, workers: Iterator[httpx2.AsyncClient]) -> None:
        body = {"op": "Auth", "context": '{"username":"jeff"}'}
        headers = UAF | bench.api | {"x-forwarded-for": FAR}
        for _ in range(5):
            answer = await next(workers).post(BEGINNINGS["uaf"][0], json=body, headers=headers)
            assert answer.status_code == 200

    run(tmp_path, database, check, begun=2)


@pytest.mark.parametrize("path", ["/nevisfido/status", "/nevisfido/status/stream"])
def test_one_session_is_asked_about_so_often_only(tmp_path: Path, database: str, path: str) -> None:
    async def check(bench: Bench, workers: Iterator[httpx2.AsyncClient]) -> None:
        async def ask(session: str) -> int:
            headers = {"content-type": "application/json", "accept": "*/*"}
            return (await next(workers).post(path, json={"sessionId": session}, headers=headers)).status_code

        assert [await ask("one") for _ in range(5)] == [200] * 3 + [429] * 2
        assert await ask("another") == 200
        bench.clock.advance(20)
        assert [await ask("one") for _ in range(2)] == [200, 429]

    run(tmp_path, database, check, session=3)


@pytest.mark.parametrize("path", ["/web/operation/status", "/web/operation/stream"])
def test_one_operation_of_a_page_is_asked_about_so_often_only(tmp_path: Path, database: str, path: str) -> None:
    async def check(bench: Bench, workers: Iterator[httpx2.AsyncClient]) -> None:
        headers = {"content-type": "application/json", "accept": "*/*", "origin": BASE}
        answers = [await next(workers).post(path, json={"id": "one"}, headers=headers) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2

    run(tmp_path, database, check, session=3)


def test_one_user_is_sent_so_many_pushes_only(tmp_path: Path, database: str, postbox: Postbox) -> None:
    async def check(bench: Bench, workers: Iterator[httpx2.AsyncClient]) -> None:
        await reachable(bench, postbox)
        await reachable(bench, postbox, "mia")
        targets = {target.username: target.id for target in await admin.list_targets(bench.store)}

        async def push(username: str) -> int:
            wanted = {"getUafRequest": {"op": "Auth", "context": "{}"}, "dispatchTargetId": targets[username]}
            path = "/nevisfido/token/dispatch/authentication"
            return (await next(workers).post(path, json=wanted, headers=JSON | bench.api)).status_code

        assert [await push("jeff") for _ in range(5)] == [200] * 3 + [429] * 2
        assert await push("mia") == 200
        bench.clock.advance(20)
        assert [await push("jeff") for _ in range(2)] == [200, 429]
        # What is shown to nobody but who asks is not limited by user.
        shown = {"getUafRequest": {"op": "Auth", "context": '{"username":"jeff"}'}, "dispatcher": "link"}
        path = "/nevisfido/token/dispatch/authentication"
        assert (await next(workers).post(path, json=shown, headers=JSON | bench.api)).status_code == 200

    more = {"insecure": True, "web_push": WebPush(networks=("127.0.0.0/8",))}
    run(tmp_path, database, check, user_pushes=3, more=more)


def test_one_name_is_tried_with_so_many_passwords_only(tmp_path: Path, database: str) -> None:
    async def check(bench: Bench, workers: Iterator[httpx2.AsyncClient]) -> None:
        write_policy(bench, {"rules": [ALL]})
        await admin.set_password(bench.store, "jeff", "correct horse", now=bench.clock())
        client = await new_client(bench)

        async def attempt(password: str) -> str:
            bench.client = next(workers)
            wanted = ASK | {"acr_values": "pw-enroll", "username": "jeff", "password": password}
            return str((await client.send("/authorize-challenge", wanted)).json()["error"])

        wrong = "username_or_password_invalid"
        assert [await attempt("wrong horse") for _ in range(2)] == [wrong] * 2
        assert await attempt("correct horse") == "insufficient_authorization"
        # What ended well does not count.
        assert [await attempt("wrong horse") for _ in range(4)] == [wrong] * 3 + ["too_many_attempts"]
        assert await attempt("correct horse") == "too_many_attempts"
        bench.clock.advance(200)
        await client.fresh()
        client.attestation = client.attest()
        assert await attempt("correct horse") == "insufficient_authorization"

    run(tmp_path, database, check, password_tries=3)


@pytest.mark.parametrize(
    "settings",
    [
        RateLimitSettings(enabled=False, requests=1, session=1, exempt=()),
        RateLimitSettings(requests=0, session=0, exempt=()),
        RateLimitSettings(requests=1, session=0),
    ],
    ids=["off", "any number", "exempt"],
)
def test_without_limits_and_from_exempt_addresses_everything_passes(
    tmp_path: Path, settings: RateLimitSettings
) -> None:
    async def check() -> None:
        async with running(tmp_path, rate_limits=settings) as bench:
            assert {(await bench.status("one"))["status"] for _ in range(5)} == {"unknown"}

    asyncio.run(check())
