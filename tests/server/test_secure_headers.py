"""What every answer bears, by which names the server answers, and who may post: over all routes."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fidoloop.server import web
from fidoloop.server.config import ServerConfig
from fidoloop.server.http.hosts import Hosts
from fidoloop.server.http.messages import Response
from fidoloop.server.http.secure_headers import SecureHeaders
from fidoloop.server.lab.access import COOKIE as LAB_COOKIE
from fidoloop.server.oauth.authorization.consent import COOKIE as AUTHORIZE_COOKIE
from fidoloop.server.routes import make_routes
from fidoloop.server.web import cookies
from tests.server.harness import BASE, Bench, running

ROUTES = [
    (method, path, endpoint) for path, methods in make_routes(lab=True).items() for method, endpoint in methods.items()
]
EVERY_ANSWER = {
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
CACHED = {"/nevisfido/uaf/1.1/facets", "/.well-known/assetlinks.json", "/.well-known/apple-app-site-association"}


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **settings: Any) -> None:  # noqa: ANN401
    async def whole() -> None:
        async with running(home, **settings) as bench:
            await check(bench)

    asyncio.run(whole())


async def ask(bench: Bench, method: str, path: str, **headers: str) -> httpx2.Response:
    """Send a request that gets as far as the service, if not through it."""
    (endpoint,) = (one for verb, route, one in ROUTES if (verb, route) == (method, path))
    sent = {"content-type": endpoint.consumes or "", "accept": endpoint.produces or "*/*"} | headers
    return await bench.client.request(method, path.replace("*", "one"), content=b"{}", headers=sent)


def check_answer(answer: httpx2.Response) -> None:
    headers = answer.headers
    assert {name: headers.get(name) for name in EVERY_ANSWER} == EVERY_ANSWER
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "form-action 'none'" in policy
    assert "unsafe" not in policy
    assert not [name for name in headers if name.startswith("access-control-")]
    assert "server" not in headers
    assert all(len(headers.get_list(name)) == 1 for name in headers), "none is there twice"
    if headers.get("content-type", "").startswith("text/html"):
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "publickey-credentials-get=(self)" in headers["permissions-policy"]
        assert not re.search(r"<style|\son[a-z]+=|<script(?! type=\"module\" src=)|style=", answer.text)


def test_every_answer_of_every_service_bears_them(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        pages = 0
        for method, path, _ in ROUTES:
            for headers in (bench.api, {"origin": BASE}, {"origin": "https://evil.example"}):
                answer = await ask(bench, method, path, **headers)
                assert answer.status_code != 500, path
                check_answer(answer)
                if path not in CACHED:
                    assert answer.headers["cache-control"] == "no-store", path
                pages += answer.headers.get("content-type", "").startswith("text/html")
        assert pages > 3

    run(tmp_path, check, lab=True)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("PUT", "/"), ("OPTIONS", "/token"), ("GET", "/a/b/c")]
)
def test_what_no_service_answers_bears_them_too(tmp_path: Path, method: str, path: str) -> None:
    async def check(bench: Bench) -> None:
        answer = await bench.client.request(method, path, headers={"origin": "https://evil.example"})
        assert answer.status_code in (404, 405)
        check_answer(answer)

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("base_url", "sent"),
    [
        ("https://login.example", True),
        ("https://login.example:8443", True),
        ("https://localhost:8443", False),
        ("http://login.example", False),
    ],
)
def test_https_is_insisted_on_where_the_name_is_the_servers_own(base_url: str, sent: bool) -> None:
    headers = dict(SecureHeaders(base_url).missing_from(Response(200)))
    assert (b"strict-transport-security" in headers) is sent


def test_an_answers_own_headers_come_first() -> None:
    own = (b"content-security-policy", b"default-src 'self'"), (b"cache-control", b"max-age=60")
    added = SecureHeaders(BASE).missing_from(Response(200, headers=own))
    assert {name for name, _ in added}.isdisjoint({b"content-security-policy", b"cache-control"})
    assert (b"x-content-type-options", b"nosniff") in added


@pytest.mark.parametrize(
    ("field", "own"),
    [
        (b"login.example", True),
        (b"LOGIN.example.", True),
        (b"login.example:8443", True),
        (b"portal.internal:80", True),
        (b"localhost:1", True),
        (b"192.0.2.1:8443", True),
        (b"[2001:db8::1]:8443", True),
        (b"[::1]", True),
        (b"evil.example", False),
        (b"login.example.evil.example", False),
        (b"login.example:8443@evil.example", False),
        (b"login.example:evil", False),
        (b"[login.example", True),
        (b"[evil.example]", False),
        (b"", False),
        (None, False),
        (b"a" * 300, False),
        (b"\xff.example", False),
    ],
)
def test_the_names_of_a_server(tmp_path: Path, field: bytes | None, own: bool) -> None:
    config = ServerConfig(home=tmp_path, base_url="https://login.example:8443", hosts=("Portal.internal",))
    assert Hosts(config).is_own(field) is own


def test_another_servers_name_is_refused_before_anything_else(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for method, path, _ in ROUTES:
            answer = await ask(bench, method, path, host="evil.example", **bench.api)
            assert answer.status_code == 421, path
            assert answer.json()["title"] == "Misdirected Request"
            check_answer(answer)

    run(tmp_path, check, lab=True)


def test_pages_post_to_their_own_server_only(tmp_path: Path) -> None:
    """Cross-site request forgery: the services of pages, which go by cookies, take no other page's requests."""

    async def check(bench: Bench) -> None:
        posts = [path for method, path, _ in ROUTES if method == "POST" and path.startswith(("/web/", "/lab/"))]
        assert len(posts) > 15
        for path in posts:
            for origin in ("https://evil.example", "null", f"{BASE}.evil.example", BASE.replace("https", "http"), ""):
                answer = await ask(bench, "POST", path, origin=origin)
                assert answer.status_code == 403, (path, origin)
            # A form of another page has no such Content-Type, and a page asks before it sends one elsewhere.
            answer = await bench.client.post(
                path, content=b"{}", headers={"content-type": "text/plain", "origin": BASE}
            )
            assert answer.status_code == 415

    run(tmp_path, check, lab=True)


def test_cookies_are_for_this_host_over_tls_alone_and_no_scripts() -> None:
    names = {cookies.PRE_LOGIN, cookies.LOGIN, cookies.BROWSER, AUTHORIZE_COOKIE, LAB_COOKIE}
    assert all(name.startswith("__Host-") for name in names)
    _, value = cookies.set_cookie(cookies.LOGIN, "secret", seconds=60)
    assert value == b"__Host-fidoloop-login=secret; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"


def test_cookies_are_set_in_one_place() -> None:
    server = Path(str(web.__file__)).parent.parent
    found = {path.name for path in server.rglob("*.py") if 'b"set-cookie"' in path.read_text("utf-8")}
    assert found == {"cookies.py"}
