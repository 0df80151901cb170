"""The tables' versions: brought up to date by one process in one step, refused where they are not this version's."""

import asyncio
import json
from pathlib import Path

import pytest

from fidoloop.server.errors import StoreError
from fidoloop.server.store.base import Query, Store, migrations
from fidoloop.server.store.open import migrate_store, open_store
from fidoloop.server.store.postgres import MIGRATION_LOCK
from fidoloop.server.store.rows import Nothing
from tests.server.postgres import schema_of
from tests.server.process import command, started

NUMBERS = [number for number, _ in migrations()]
NEWEST = NUMBERS[-1]
ADD = Query("INSERT INTO schema_migration (number, applied_at) VALUES (:number, 0)", Nothing)
REMOVE = Query("DELETE FROM schema_migration WHERE number = :number", Nothing)


@pytest.fixture
def postgres(postgres_url: str, tmp_path: Path) -> str:
    return asyncio.run(schema_of(postgres_url, tmp_path))


async def change(url: str, query: Query[Nothing], number: int) -> None:
    store: Store = await open_store(url)
    try:
        assert await store.execute(query, number=number) == 1
    finally:
        await store.close()


def test_migrations_are_numbered_without_a_gap() -> None:
    assert list(range(1, len(NUMBERS) + 1)) == NUMBERS


def test_migrate_applies_what_is_missing_and_then_nothing(database: str) -> None:
    assert asyncio.run(migrate_store(database)) == NUMBERS
    assert asyncio.run(migrate_store(database)) == []


def test_a_newer_database_is_refused(database: str) -> None:
    asyncio.run(migrate_store(database))
    asyncio.run(change(database, ADD, NEWEST + 1))
    for attempt in (open_store(database), open_store(database, migrate=True), migrate_store(database)):
        with pytest.raises(StoreError, match=rf"newer \(migration {NEWEST + 1}\) .* knows {NEWEST}: run a version"):
            asyncio.run(attempt)


def test_an_older_postgresql_is_refused_with_what_to_do(postgres: str) -> None:
    with pytest.raises(StoreError, match=r"has no tables of fidoloop yet, .*: run `fidoloop server migrate`"):
        asyncio.run(open_store(postgres))
    asyncio.run(migrate_store(postgres))
    asyncio.run(change(postgres, REMOVE, NEWEST))
    with pytest.raises(StoreError, match=rf"is at migration {NEWEST - 1}, .*: run `fidoloop server migrate`"):
        asyncio.run(open_store(postgres))


def test_processes_that_migrate_at_once_take_each_step_once(postgres: str) -> None:
    async def race() -> list[list[int]]:
        return await asyncio.gather(*[migrate_store(postgres) for _ in range(4)])

    assert sorted(asyncio.run(race())) == [[], [], [], NUMBERS]


def test_a_migration_waits_for_the_lock(postgres: str) -> None:
    import asyncpg

    async def check() -> None:
        connection = await asyncpg.connect(postgres)
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            migration = asyncio.ensure_future(migrate_store(postgres))
            waiting = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await connection.fetchval(waiting):
                await asyncio.sleep(0)
            assert not migration.done()
        assert await migration == NUMBERS
        await connection.close()

    asyncio.run(check())


def test_a_step_that_fails_leaves_nothing_of_any_step(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [*migrations(), (NEWEST + 1, ["CREATE TABLE half_done (id TEXT)", "CREATE TABLE account (id TEXT)"])]
    with monkeypatch.context() as patch:
        patch.setattr("fidoloop.server.store.schema.migrations", lambda: broken)
        with pytest.raises(StoreError, match='brought up to date: relation "account" already exists'):
            asyncio.run(migrate_store(postgres))
    assert asyncio.run(migrate_store(postgres)) == NUMBERS


def test_the_command_migrates_and_a_server_before_it_is_refused(tmp_path: Path, postgres: str) -> None:
    tmp_path.joinpath("fidoloop.toml").write_text(f"[server]\ndatabase = {json.dumps(postgres)}\ninsecure = true\n")
    refused = command(tmp_path, "run", "--port", "0")
    assert refused.returncode == 1
    assert "run `fidoloop server migrate`" in refused.stderr.replace("\n", " ")
    assert json.loads(command(tmp_path, "migrate", "--json").stdout) == {"applied": NUMBERS}
    assert "nothing to do" in command(tmp_path, "migrate").stdout
    with started(tmp_path) as running:
        assert running.stop() == 0


def test_a_server_that_may_migrates_by_itself(tmp_path: Path, postgres: str) -> None:
    tmp_path.joinpath("fidoloop.toml").write_text(f"[server]\ndatabase = {json.dumps(postgres)}\ninsecure = true\n")
    with started(tmp_path, "--set", "migrate=true") as running:
        assert running.stop() == 0
    assert asyncio.run(migrate_store(postgres)) == []


def test_migrate_says_what_a_file_needed(tmp_path: Path) -> None:
    assert json.loads(command(tmp_path, "migrate", "--json").stdout) == {"applied": NUMBERS}
    assert json.loads(command(tmp_path, "migrate", "--json").stdout) == {"applied": []}
