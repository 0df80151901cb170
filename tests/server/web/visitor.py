"""A browser without a screen: cookies of its own, the headers that a browser sends from the server's own pages."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from fidoloop.protocol import outofband
from tests.server.harness import BASE, JSON, Bench
from tests.server.phone import Phone


class Visitor:
    """Somebody's browser at the server under test."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        content = json.dumps(body)
        return await self.client.post(path, content=content, headers=JSON | {"origin": BASE} | headers)

    async def get(self, path: str) -> httpx2.Response:
        return await self.client.get(path)

    async def begin(self, by: str = "qr", **members: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = await self.post("/web/login", {"by": by} | members)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def state(self, operation: str) -> dict[str, Any]:
        answer = await self.post("/web/operation/status", {"id": operation})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def finish(self, operation: str, *, remember: bool = False) -> int:
        answer = await self.post("/web/login/finish", {"id": operation, "remember": remember})
        return answer.status_code

    async def who(self) -> str | None:
        """Whom the server takes this browser for."""
        answer = await self.get("/web/account")
        assert answer.status_code in (200, 401), answer.text
        return str(answer.json()["username"]) if answer.status_code == 200 else None

    async def log_in(self, bench: Bench, phone: Phone, *, remember: bool = False) -> None:
        begun = await self.begin()
        await answer_link(bench, begun["link"], phone)
        assert await self.finish(begun["id"], remember=remember) == 200


@asynccontextmanager
async def visiting(bench: Bench) -> AsyncIterator[Visitor]:
    async with bench.another_client() as client:
        yield Visitor(client)


def token_in(link: str) -> str:
    """The token of a plain link."""
    return outofband.open_payload(outofband.decode_scanned(link), None).token


async def redeem(bench: Bench, token: str) -> dict[str, Any]:
    """The UAF request a token is redeemed for."""
    returned = await bench.redeem(token)
    assert returned["statusCode"] == 1200, returned
    return dict(json.loads(returned["uafRequest"])[0])


async def answer_link(bench: Bench, link: str, phone: Phone) -> None:
    """Scan the link's code, and confirm."""
    request = await redeem(bench, token_in(link))
    answer = await bench.respond("Auth", phone.authenticate(request))
    assert answer["statusCode"] == 1200, answer
