"""Changes told between processes: by NOTIFY where it works, found by asking where it does not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from fidoloop.server import shared_changes
from fidoloop.server.changes import Changes
from fidoloop.server.shared_changes import SharedChanges

FOREVER = 3600.0


async def change_of(changes: Changes, session_id: str) -> None:
    with changes.watch(session_id) as watch:
        await watch.changed(FOREVER)


@asynccontextmanager
async def sharing(url: str, count: int) -> AsyncIterator[list[SharedChanges]]:
    """Run as many processes' changes in one, once all of them hear each other."""
    processes = [SharedChanges() for _ in range(count)]
    tasks = [asyncio.create_task(each.share(url)) for each in processes]
    try:
        await hearing(processes)
        yield processes
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def hearing(processes: list[SharedChanges]) -> None:
    """Return when a change of each is heard by all others."""
    for at, teller in enumerate(processes):
        for hearer in processes[:at] + processes[at + 1 :]:
            await told(teller, hearer, f"probe{at}")


async def told(teller: SharedChanges, hearer: SharedChanges, session_id: str) -> None:
    """Announce again and again until it is heard elsewhere: one that is told before all listen is lost."""
    waiting = asyncio.create_task(change_of(hearer, session_id))
    while not waiting.done():
        teller.announce(session_id)
        await asyncio.wait([waiting], timeout=0.05)


def run(check: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(check(), 60))


def test_a_change_wakes_those_who_wait_elsewhere_and_here(postgres_url: str) -> None:
    async def check() -> None:
        async with sharing(postgres_url, 3) as (teller, *others):
            everybody = [teller, *others]
            waiting = [asyncio.create_task(change_of(each, "this")) for each in everybody]
            other = asyncio.create_task(change_of(others[0], "another"))
            await asyncio.sleep(0)
            teller.announce("this")
            await asyncio.gather(*waiting)
            assert not other.done()
            other.cancel()

    run(check)


def test_many_changes_at_once_are_told_in_few_statements(postgres_url: str) -> None:
    async def check() -> None:
        async with sharing(postgres_url, 2) as (teller, hearer):
            names = [f"00000000-0000-7000-8000-{number:012}" for number in range(1000)]
            waiting = [asyncio.create_task(change_of(hearer, name)) for name in names]
            await asyncio.sleep(0)
            for name in names:
                teller.announce(name)
            await asyncio.gather(*waiting)

    run(check)


def test_a_connection_that_is_lost_is_made_again(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_changes, "RETRY_SECONDS", 0.0)

    async def check() -> None:
        async with sharing(postgres_url, 2) as processes:
            connection = await asyncpg.connect(postgres_url)
            ended = await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND (query LIKE '%LISTEN%' OR query LIKE '%pg_notify%')"
            )
            await connection.close()
            assert len(ended) >= 2
            await hearing(processes)

    run(check)


def test_a_database_without_listen_is_left_alone(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise asyncpg.FeatureNotSupportedError("LISTEN")

    monkeypatch.setattr(asyncpg.Connection, "add_listener", refuse)

    async def check() -> None:
        changes = SharedChanges()
        await changes.share(postgres_url)
        waiting = asyncio.create_task(change_of(changes, "here"))
        await asyncio.sleep(0)
        changes.announce("here")
        await waiting

    run(check)


def test_only_those_of_this_process_hear_without_a_database() -> None:
    async def check() -> None:
        one, other = Changes(), Changes()
        waiting = [asyncio.create_task(change_of(each, "x")) for each in (one, other)]
        await asyncio.sleep(0)
        one.announce("x")
        await waiting[0]
        assert not waiting[1].done()
        waiting[1].cancel()

    run(check)
