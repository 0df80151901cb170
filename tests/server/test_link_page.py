"""The page behind a link: it says what to do, and does nothing (HTTP contract 8)."""

import asyncio
import html
import json
import re
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fidoloop.protocol import outofband
from fidoloop.server.config import ServerConfig
from fidoloop.server.errors import SettingError
from tests.server.harness import Bench, running
from tests.server.test_tokens import dispatch, scan

BASE = "https://localhost:8443/link"


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **overrides: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **overrides) as bench:
            await check(bench)

    asyncio.run(scenario())


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.language = self.language or found.get("lang") or ""
        if tag == "a":
            self.links.append(found.get("href") or "")
        assert not [name for name in found if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("dispatcher", ["link", "link-png-qr-code"])
def test_opening_a_link_twice_uses_nothing_up(tmp_path: Path, dispatcher: str) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        sent = await dispatch(bench, dispatcher="link", context={"username": "jeff"})
        again = await dispatch(bench, dispatcher=dispatcher, context={"username": "jeff"}, sessionId=sent["sessionId"])
        link = sent["dispatcherInformation"]["response"]
        assert link.startswith(f"{BASE}?{outofband.LINK_PARAMETER}=")
        assert scan(dispatcher, again["dispatcherInformation"]["response"]) == outofband.decode_scanned(link)
        parts = urlsplit(link)
        for _ in range(2):
            answer = await bench.client.get(f"{parts.path}?{parts.query}")
            assert answer.status_code == 200
            (app,) = Page(answer.text).links
            assert outofband.decode_scanned(app) == outofband.decode_scanned(link)
            assert app.startswith("fidoloop://")
            assert (await bench.status(sent["sessionId"]))["status"] == "tokenCreated"
        request = json.loads((await bench.redeem(sent["token"]))["uafRequest"])[0]
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200

    run(tmp_path, check, link_base_url=BASE)


def test_the_page_needs_no_script_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        answer = await bench.client.get("/link?dispatchTokenResponse=eyJ9")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        page = Page(answer.text)
        assert page.language == "en"
        assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("title") == 1
        assert not {"script", "img", "iframe", "form", "base", "object"} & set(page.tags)
        assert "phone open" in answer.text
        assert "nobody is logged in by opening it" in answer.text

    run(tmp_path, check)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "dispatchTokenResponse=",
        "dispatchTokenResponse=a&dispatchTokenResponse=b",
        "dispatchTokenResponse=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "dispatchTokenResponse=javascript:alert(1)",
        "dispatchTokenResponse=a%00b",
        "dispatchTokenResponse=%ff",
        "dispatchTokenResponse=" + "a" * 32769,
        "&".join(f"x{n}=1" for n in range(20)),
        "x=1",
    ],
    ids=range(10),
)
def test_what_is_no_token_is_not_shown(tmp_path: Path, query: str) -> None:
    async def check(bench: Bench) -> None:
        answer = await bench.client.get(f"/link?{query}")
        assert answer.status_code == 200
        page = Page(answer.text)
        assert page.links == []
        assert "script" not in page.tags
        assert "not whole" in html.unescape(answer.text)
        assert not re.search(r"alert|aaaa", answer.text)

    run(tmp_path, check)


@pytest.mark.parametrize(
    ("base", "good"),
    [
        ("fidoloop://authenticate", True),
        ("https://login.example/app?x=1", True),
        ("http://localhost:8000/link", True),
        ("http://login.example/link", False),
        ("https://login.example/#part", False),
        ("javascript:alert(1)//", False),
        ("data:text/html,x", False),
        ("no scheme", False),
        ("https://login.example/a b", False),
        ('https://login.example/"', False),
        ("https://[::1", False),
    ],
)
def test_links_begin_with_what_opens_an_app(tmp_path: Path, base: str, good: bool) -> None:
    if good:
        assert ServerConfig(home=tmp_path, base_url="https://localhost", link_base_url=base).link_base_url == base
    else:
        with pytest.raises(SettingError, match="link_base_url"):
            ServerConfig(home=tmp_path, base_url="https://localhost", link_base_url=base)
