"""/readyz: whether requests should be sent here."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fidoloop.server.store.base import Query, migrations
from fidoloop.server.store.rows import Nothing
from tests.server.harness import JSON, Bench, running

NEWEST = migrations()[-1][0]
Breaking = Callable[[Bench], Awaitable[object]]


async def stop(bench: Bench) -> None:
    bench.environment.changes.stop()


async def be_newer(bench: Bench) -> None:
    await bench.store.execute(Query("INSERT INTO schema_migration VALUES (:number, 0)", Nothing), number=NEWEST + 1)


async def be_older(bench: Bench) -> None:
    await bench.store.execute(Query("DELETE FROM schema_migration WHERE number = :number", Nothing), number=NEWEST)


async def fail(bench: Bench) -> None:
    await bench.store.execute(Query("ALTER TABLE schema_migration RENAME TO lost", Nothing))


@pytest.mark.parametrize(
    ("breaking", "reason"),
    [
        (stop, "about to stop"),
        (be_newer, "tables are of another version"),
        (be_older, "tables are of another version"),
        (fail, "database does not answer"),
    ],
)
def test_a_server_says_when_nothing_should_be_sent_to_it(
    tmp_path: Path, database: str, breaking: Breaking, reason: str
) -> None:
    async def check() -> None:
        async with running(tmp_path, database=database) as bench:
            ready = await bench.client.get("/readyz")
            assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
            await breaking(bench)
            refused = await bench.client.get("/readyz")
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            assert reason in refused.json()["detail"]

    asyncio.run(check())


def test_a_text_that_the_database_cannot_hold_is_a_refusal(tmp_path: Path, database: str) -> None:
    async def check() -> None:
        async with running(tmp_path, database=database) as bench:
            answer = await bench.post("/status", '{"sessionId": "\\u0000"}', JSON)
            assert answer.status_code == (400 if database.startswith("postgresql:") else 200)
            assert (await bench.status("nobody's"))["status"] == "unknown"

    asyncio.run(check())
