"""The store on SQLite: what ends together is committed together, what fails is undone alone, nothing hangs."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fidoloop.server.errors import ConflictError, StoreError
from fidoloop.server.store import checkpoints, queries, shared_commits
from fidoloop.server.store.base import Change, Query, Transaction, migrations
from fidoloop.server.store.rows import Nothing
from fidoloop.server.store.sqlite import SqliteStore


def run(path: Path, check: Callable[[SqliteStore], Awaitable[None]]) -> None:
    async def scenario() -> None:
        store = SqliteStore(path / "s.sqlite")
        try:
            await check(store)
        finally:
            await store.close()

    asyncio.run(scenario())


async def add(store: SqliteStore, name: str, *, fail: bool = False, pause: int = 0) -> None:
    async with store.transaction() as transaction:
        await add_in(transaction, name)
        for _ in range(pause):
            await asyncio.sleep(0)
        if fail:
            raise ValueError(name)


async def add_in(statements: Transaction | SqliteStore, name: str) -> None:
    await statements.execute(queries.ADD_API_KEY, id=name, name=name, secret_hash="", now=1)


async def names(store: SqliteStore) -> set[str]:
    return {key.name for key in await store.fetch_all(queries.API_KEYS)}


def committed(path: Path) -> set[str]:
    """What another connection sees."""
    connection = sqlite3.connect(path / "s.sqlite")
    found = {name for (name,) in connection.execute("SELECT name FROM api_key")}
    connection.close()
    return found


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_transaction_that_fails_is_undone_alone(tmp_path: Path, failing: int) -> None:
    async def check(store: SqliteStore) -> None:
        work = [add(store, str(number), fail=number == failing, pause=number) for number in range(3)]
        answers = await asyncio.gather(*work, return_exceptions=True)
        assert [type(answer) for answer in answers].count(ValueError) == 1
        assert isinstance(answers[failing], ValueError)
        wanted = {"0", "1", "2"} - {str(failing)}
        assert await names(store) == wanted == committed(tmp_path)

    run(tmp_path, check)


def test_nobody_goes_on_before_the_commit(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        async def then_look(work: Awaitable[object], name: str) -> None:
            await work
            assert name in committed(tmp_path)

        async def read() -> None:
            seen = await names(store)
            assert seen <= committed(tmp_path)

        await asyncio.gather(
            then_look(add(store, "a"), "a"),
            read(),
            then_look(add_in(store, "b"), "b"),
            read(),
            then_look(add(store, "c", pause=3), "c"),
            read(),
        )

    run(tmp_path, check)


def test_transactions_of_one_turn_share_a_commit(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        seen: list[str] = []
        store.connection.set_trace_callback(seen.append)
        await asyncio.gather(*(add(store, str(number)) for number in range(5)), add_in(store, "single"))
        assert seen.count("COMMIT") == seen.count("BEGIN IMMEDIATE") == 1
        assert len(await names(store)) == 6

    run(tmp_path, check)


def test_a_single_statement_that_fails_is_undone_alone(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        await add_in(store, "a")
        with pytest.raises(ConflictError):
            await add_in(store, "a")
        answers = await asyncio.gather(
            add_in(store, "b"), add_in(store, "a"), add_in(store, "c"), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [type(None), ConflictError, type(None)]
        assert committed(tmp_path) == {"a", "b", "c"}

    run(tmp_path, check)


def test_a_commit_that_fails_fails_for_all_of_it(tmp_path: Path) -> None:
    class FullDisk:
        """The connection, on a disk that is full when the commit comes."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def execute(self, sql: str) -> sqlite3.Cursor:
            if sql == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return self._connection.execute(sql)

        @property
        def in_transaction(self) -> bool:
            return self._connection.in_transaction

    async def check(store: SqliteStore) -> None:
        real = store.commits._connection
        store.commits._connection = FullDisk(real)  # type: ignore[assignment]
        answers = await asyncio.gather(add(store, "a"), add(store, "b"), add_in(store, "c"), return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreError}
        store.commits._connection = real
        await add(store, "d")
        assert await names(store) == {"d"} == committed(tmp_path)

    run(tmp_path, check)


def test_whoever_is_cancelled_takes_nobody_with_him(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        tasks = [asyncio.ensure_future(add(store, name)) for name in "ab"]
        # Both have written by then; neither is committed.
        await asyncio.sleep(0)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError, type(None)]
        assert "b" in committed(tmp_path)

    run(tmp_path, check)


def test_a_locked_database_is_waited_for_while_others_go_on(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        other = SqliteStore(tmp_path / "s.sqlite")
        try:
            await asyncio.gather(add(store, "a", pause=20), add(other, "b", pause=20), add_in(other, "c"))
            assert await names(store) == {"a", "b", "c"}
        finally:
            await other.close()

    run(tmp_path, check)


def adding(name: str) -> Change:
    return Change(queries.ADD_API_KEY, {"id": name, "name": name, "secret_hash": "", "now": 1})


REVOKE = Query("UPDATE api_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL", Nothing)


def revoking(name: str) -> Change:
    return Change(REVOKE, {"id": name, "now": 2})


def test_changes_of_several_callers_share_a_commit_and_fail_alone(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        await add(store, "old")
        seen: list[str] = []
        store.connection.set_trace_callback(seen.append)
        answers = await asyncio.gather(
            store.apply([adding("a")]),
            store.apply([adding("b"), revoking("b"), revoking("b")]),
            store.apply([revoking("old"), adding("old")]),
            store.apply([revoking("absent")]),
            store.apply([adding("c"), revoking("c")]),
            return_exceptions=True,
        )
        assert [answers[0], answers[1], answers[3], answers[4]] == [True, False, False, True]
        assert isinstance(answers[2], ConflictError)
        assert seen.count("COMMIT") == 1
        keys = {key.name: key.revoked_at for key in await store.fetch_all(queries.API_KEYS)}
        assert keys == {"old": None, "a": None, "c": 2}
        assert committed(tmp_path) == set(keys)

    run(tmp_path, check)


def test_changes_join_an_open_transaction_and_fail_alone(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        answers = await asyncio.gather(
            add(store, "a"),
            store.apply([adding("b"), revoking("absent")]),
            store.apply([adding("c"), revoking("c")]),
            add(store, "d", fail=True),
            return_exceptions=True,
        )
        assert list(answers[1:3]) == [False, True]
        assert await names(store) == {"a", "c"} == committed(tmp_path)

    run(tmp_path, check)


def test_changes_wait_for_a_transaction_that_takes_its_time(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        answers = await asyncio.gather(
            add(store, "a", pause=30, fail=True), store.apply([adding("b")]), return_exceptions=True
        )
        assert answers[1] is True
        assert await names(store) == {"b"} == committed(tmp_path)

    run(tmp_path, check)


def test_changes_wait_for_a_locked_database(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        other = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(store.apply([adding("a")]))
        await asyncio.wait([waiting], timeout=0.02)
        assert not waiting.done()
        other.execute("COMMIT")
        assert await waiting
        assert committed(tmp_path) == {"a"}
        other.close()

    run(tmp_path, check)


def test_changes_give_up_on_a_database_that_stays_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_commits, "BUSY_TIMEOUT_SECONDS", 0.01)

    async def check(store: SqliteStore) -> None:
        other = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        answers = await asyncio.gather(
            store.apply([adding("a")]), store.apply([adding("b"), revoking("b")]), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [StoreError, StoreError]
        other.execute("ROLLBACK")
        other.close()
        assert await store.apply([adding("c")])
        assert committed(tmp_path) == {"c"}

    run(tmp_path, check)


def test_changes_of_a_caller_who_is_gone_are_not_made(tmp_path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        tasks = [asyncio.ensure_future(store.apply([adding(name)])) for name in "ab"]
        await asyncio.sleep(0)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answers[0]), answers[1]] == [asyncio.CancelledError, True]
        assert committed(tmp_path) == {"b"}

    run(tmp_path, check)


def test_changes_that_wait_when_the_store_is_closed_are_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "s.sqlite")
        task = asyncio.ensure_future(store.apply([adding("a")]))
        await asyncio.sleep(0)
        await store.close()
        assert await task

    asyncio.run(scenario())
    assert committed(tmp_path) == {"a"}


def test_the_log_starts_over_after_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "COMMITS", 10)

    async def check(store: SqliteStore) -> None:
        log = tmp_path / "s.sqlite-wal"
        for number in range(10):
            await add_in(store, str(number))
        await store.checkpoints.finished()
        size = log.stat().st_size
        for number in range(10, 15):
            await add_in(store, str(number))
        assert log.stat().st_size == size
        assert len(await names(store)) == 15

    run(tmp_path, check)


def test_a_checkpoint_that_fails_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints.checkpoint(tmp_path / "absent" / "s.sqlite")
    assert "unable to open database file" in caplog.text


def test_migrations_are_numbered_one_after_the_other() -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
