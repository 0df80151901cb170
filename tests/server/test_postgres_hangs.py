"""PostgreSQL that takes connections and does nothing: whoever waits is told so in time, and afterwards is served."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from fidoloop.server import run as server_run
from fidoloop.server import shared_changes
from fidoloop.server.errors import StoreError
from fidoloop.server.store import postgres, queries
from fidoloop.server.store.base import Query, Store, Value
from fidoloop.server.store.open import open_store
from fidoloop.server.store.rows import Nothing
from tests.server.harness import running
from tests.server.postgres import Cluster, schema_of
from tests.server.test_postgres_lost import served_again
from tests.server.test_shared_changes import sharing, told

LIMIT = 60.0
SECONDS = 0.2
SLOW = "UPDATE setting SET value = 'seen' WHERE name = 'slow'"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait for long."""
    for name in ("ACQUIRE_SECONDS", "MOST_SECONDS", "UNDO_SECONDS"):
        monkeypatch.setattr(postgres, name, SECONDS)


@pytest.fixture
def database(postgres_cluster: Cluster) -> Iterator[Cluster]:
    yield postgres_cluster
    postgres_cluster.resume()


def on(home: Path, url: str, check: Callable[[Store], Awaitable[None]]) -> None:
    async def scenario() -> None:
        store = await open_store(await schema_of(url, home), migrate=True)
        try:
            await check(store)
        finally:
            await store.close()

    asyncio.run(asyncio.wait_for(scenario(), LIMIT))


async def write(store: Store) -> int:
    return await store.execute(queries.SET_SETTING, name="lost", value="x")


async def alone(store: Store, database: Cluster) -> None:
    database.suspend()
    await write(store)


async def begun(store: Store, database: Cluster) -> None:
    async with store.transaction() as transaction:
        await transaction.execute(queries.SET_SETTING, name="lost", value="x")
        database.suspend()
        await transaction.execute(queries.SET_SETTING, name="lost", value="y")


async def in_a_savepoint(store: Store, database: Cluster) -> None:
    async with store.transaction() as transaction, transaction.savepoint():
        await transaction.execute(queries.SET_SETTING, name="lost", value="x")
        database.suspend()
        await transaction.execute(queries.SET_SETTING, name="lost", value="y")


async def before_a_savepoint(store: Store, database: Cluster) -> None:
    async with store.transaction() as transaction:
        await transaction.execute(queries.SET_SETTING, name="lost", value="x")
        database.suspend()
        async with transaction.savepoint():
            pytest.fail("there is none")


async def committing(store: Store, database: Cluster) -> None:
    async with store.transaction() as transaction:
        await transaction.execute(queries.SET_SETTING, name="lost", value="x")
        database.suspend()


@pytest.mark.parametrize("work", [alone, begun, in_a_savepoint, before_a_savepoint, committing])
def test_what_is_not_answered_is_a_store_error_and_what_comes_after_is_served(
    tmp_path: Path, database: Cluster, work: Callable[[Store, Cluster], Awaitable[None]]
) -> None:
    async def check(store: Store) -> None:
        with pytest.raises(StoreError, match="PostgreSQL: TimeoutError"):
            await work(store, database)
        # Nor is one that comes after it, however many there are.
        after = [write(store) for _ in range(3 * postgres.POOL_SIZE)]
        assert {type(each) for each in await asyncio.gather(*after, return_exceptions=True)} == {StoreError}
        database.resume()
        await served_again(store)

    on(tmp_path, database.url, check)


def test_a_transaction_that_was_not_committed_is_undone(tmp_path: Path, database: Cluster) -> None:
    async def check(store: Store) -> None:
        with pytest.raises(StoreError):
            await begun(store, database)
        database.resume()
        await served_again(store)
        assert await store.fetch_one(queries.SETTING, name="lost") is None

    on(tmp_path, database.url, check)


def test_a_store_is_closed_all_the_same(tmp_path: Path, database: Cluster) -> None:
    async def check(store: Store) -> None:
        await write(store)
        database.suspend()

    on(tmp_path, database.url, check)


@pytest.mark.parametrize("patient", [False, True])
def test_only_what_goes_through_a_whole_table_may_take_longer(tmp_path: Path, postgres_url: str, patient: bool) -> None:
    """Another transaction holds the row; it ends when the statement has waited for longer than most may."""

    async def check(store: Store) -> None:
        await store.execute(queries.SET_SETTING, name="slow", value="x")
        async with store.transaction() as transaction:
            await transaction.execute(queries.SET_SETTING, name="slow", value="y")
            slow = asyncio.ensure_future(store.execute(Query(SLOW, Nothing, patient=patient)))
            # One that may not, and is asked for later, is given up.
            with pytest.raises(StoreError):
                await store.execute(Query(SLOW, Nothing))
            assert not patient or not slow.done()
        if patient:
            assert await slow == 1
        else:
            with pytest.raises(StoreError):
                await slow
        # The database said that it gave them up: the connections are as good as before.
        await write(store)

    on(tmp_path, postgres_url, check)


def test_changes_are_told_again_when_the_database_goes_on(
    database: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shared_changes, "RETRY_SECONDS", 0.01)

    async def check() -> None:
        async with sharing(database.url, 2) as (one, other):
            database.suspend()
            one.announce("a")
            while "not told to other processes: TimeoutError" not in caplog.text:
                await asyncio.sleep(0.01)
            database.resume()
            await told(one, other, "b")
            await told(other, one, "c")

    asyncio.run(asyncio.wait_for(check(), LIMIT))


def test_what_is_expired_is_removed_when_the_database_goes_on(
    tmp_path: Path, database: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_run, "PURGE_SECONDS", 0.01)
    monkeypatch.setattr(postgres, "PATIENT_SECONDS", SECONDS)

    async def check() -> None:
        async with running(tmp_path, database=await schema_of(database.url, tmp_path)) as bench:
            environment = bench.environment
            async with server_run.beside(*server_run.housekeeping(environment)):
                database.suspend()
                while environment.metrics.store_errors < 2:
                    await asyncio.sleep(0.01)
                database.resume()
                await served_again(bench.store)
                expired: dict[str, Value] = {"target_id": "t", "request_id": "r", "expires_at": 1}
                assert await bench.store.fetch_all(queries.USE_REQUEST_ID, **expired)
                # It can be used again once it is forgotten.
                while not await bench.store.fetch_all(queries.USE_REQUEST_ID, **expired):
                    await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(check(), LIMIT))
