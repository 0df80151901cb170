"""A browser that has opened the lab console, without a screen."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fidoloop.server.lab.console import Lab
from tests.server.harness import Bench, running
from tests.server.web.visitor import Visitor, visiting

Check = Callable[[Bench, "LabVisitor"], Awaitable[None]]


class LabVisitor(Visitor):
    """Somebody's browser; the lab is open to it."""

    async def overview(self) -> dict[str, Any]:
        answer = await self.get("/lab/overview")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def story(self, session_id: str) -> list[dict[str, Any]]:
        answer = await self.post("/lab/session", {"id": session_id})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["entries"])

    async def states(self, session_id: str) -> list[str]:
        return [entry["state"] for entry in await self.story(session_id) if entry["kind"] == "change"]

    async def messages(self, session_id: str) -> list[dict[str, Any]]:
        return [entry for entry in await self.story(session_id) if entry["kind"] == "message"]

    async def make(self, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = await self.post("/lab/session/new", members)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def inject(self, session_id: str, fault: str, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        answer = await self.post("/lab/session/fault", {"id": session_id, "fault": fault} | members)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def lab_of(bench: Bench) -> Lab:
    assert bench.environment.lab is not None
    return bench.environment.lab


async def open_lab(bench: Bench, visitor: Visitor) -> None:
    answer = await visitor.post("/lab/enter", {"token": lab_of(bench).access.token})
    assert answer.status_code == 204, answer.text


@asynccontextmanager
async def in_the_lab(home: Path, **options: Any) -> AsyncIterator[tuple[Bench, LabVisitor]]:  # noqa: ANN401 - options
    async with running(home, lab=True, **options) as bench, visiting(bench) as visitor:
        await open_lab(bench, visitor)
        yield bench, LabVisitor(visitor.client)
