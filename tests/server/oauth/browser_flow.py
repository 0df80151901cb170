"""The authorization-code flow by HTTP: what a client asks for, and the browser that answers, step by step."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from fidoloop.protocol.oauth.pkce import code_challenge
from fidoloop.server.settings.oauth import OAuthSettings
from tests.server.harness import Bench, running
from tests.server.oauth.client import BY_POP, SCOPE, VERIFIER, OAuthClient, new_client
from tests.server.web.visitor import Visitor, visiting

REDIRECT = "https://app.example/callback?from=fidoloop"
OTHER_REDIRECT = "com.example.app:/callback"
METADATA: dict[str, Any] = {"client_name": "Photo <app>", "redirect_uris": [REDIRECT, OTHER_REDIRECT]}
STATE = "a state & more"


def asking(client: OAuthClient, **changes: str | None) -> dict[str, str]:
    """The parameters of an authorization request, changed; those set to None are left out."""
    parameters: dict[str, str | None] = {
        "client_id": client.client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": SCOPE,
        "state": STATE,
        "nonce": "n-1",
        "code_challenge": code_challenge(VERIFIER),
        "code_challenge_method": "S256",
        "dpop_jkt": client.jkt,
        **changes,
    }
    return {name: value for name, value in parameters.items() if value is not None}


async def push(client: OAuthClient, **changes: str | None) -> httpx2.Response:
    return await client.send("/par", asking(client, **changes))


async def pushed(client: OAuthClient, **changes: str | None) -> str:
    """Push a request, and return the query that a browser comes with."""
    answer = await push(client, **changes)
    assert answer.status_code == 201, answer.text
    return urlencode({"client_id": client.client_id, "request_uri": answer.json()["request_uri"]})


class Consenting(Visitor):
    """A browser at the authorization page."""

    async def page(self, query: str) -> httpx2.Response:
        """Come from another site, which a browser's strict cookies do not."""
        return await self.client.get(f"/authorize?{query}", headers={"cookie": ""}, follow_redirects=False)

    async def open(self, query: str, status: int = 200, **headers: str) -> dict[str, Any]:
        answer = await self.post("/web/authorize", {"query": query}, **headers)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def decide(self, opened: dict[str, Any], *, allow: bool = True, **changes: Any) -> httpx2.Response:  # noqa: ANN401
        body = {"id": opened["id"], "allow": allow, "username": opened.get("username", "nobody")} | changes
        return await self.post("/web/authorize/decide", body)

    async def allowed(self, query: str) -> dict[str, str]:
        """Open and allow a request; return the parameters that the client gets."""
        answer = await self.decide(await self.open(query))
        assert answer.status_code == 200, answer.text
        return sent_back(answer.json()["location"])


def sent_back(location: str, uri: str = REDIRECT) -> dict[str, str]:
    """The parameters of an answer at the client's redirect_uri, beside its own."""
    assert location.startswith(f"{uri}{'&' if '?' in uri else '?'}"), location
    pairs = parse_qsl(location[len(uri) + 1 :], strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def refused_to_client(answer: httpx2.Response) -> dict[str, str]:
    """The parameters of a refusal that the client is told of."""
    assert answer.status_code == 303, answer.text
    assert answer.headers["cache-control"] == "no-store"
    location = answer.headers["location"]
    assert urlsplit(location).netloc == "app.example"
    return sent_back(location)


@asynccontextmanager
async def consenting(bench: Bench) -> AsyncIterator[Consenting]:
    async with visiting(bench) as visitor:
        yield Consenting(visitor.client)


Check = Callable[[Bench, OAuthClient, Consenting], Awaitable[None]]


def run(
    home: Path,
    check: Check,
    *,
    method: str = BY_POP,
    logged_in: bool = True,
    oauth: OAuthSettings = OAuthSettings(),  # noqa: B008 - frozen
    **options: Any,  # noqa: ANN401 - any option
) -> None:
    """Run `check` with a client, and with a browser in which jeff is logged in by his phone."""

    async def whole() -> None:
        async with running(home, oauth=oauth, **options) as bench, consenting(bench) as browser:
            client, phone = await new_client(bench, method, **METADATA), await bench.registered()
            if logged_in:
                await browser.log_in(bench, phone)
            await check(bench, client, browser)

    asyncio.run(whole())
