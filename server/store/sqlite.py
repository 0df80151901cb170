"""The store on SQLite, through the standard library and called directly.

A statement takes microseconds, less than handing it to a thread would; a lock keeps the tasks of this process from
interleaving in one transaction, BEGIN IMMEDIATE and the busy timeout do the same between processes.
"""

import asyncio
import sqlite3
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from fidoloop.server.errors import ConflictError, StoreError
from fidoloop.server.store.base import Query, Row, Value, migrations

BUSY_TIMEOUT_SECONDS = 5.0
CACHED_STATEMENTS = 256
# 32 MiB of log between two checkpoints, each of which waits for the disk.
CHECKPOINT_PAGES = 8000


class SqliteStore:
    """A Store in one SQLite file (WAL, synchronous=NORMAL), readable by its owner only."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring its tables up to date. Raises StoreError."""
        self._lock = asyncio.Lock()
        self._transaction = _SqliteTransaction(self)
        try:
            path.touch(mode=0o600)
            self.connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, cached_statements=CACHED_STATEMENTS
            )
            try:
                self._prepare()
            except sqlite3.Error:
                self.connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: {error}") from None

    def _prepare(self) -> None:
        run = self.connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        run("PRAGMA foreign_keys=ON")
        run("BEGIN IMMEDIATE")
        try:
            run("CREATE TABLE IF NOT EXISTS schema_migration (number BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)")
            applied = {number for (number,) in run("SELECT number FROM schema_migration")}
            for number, statements in migrations():
                if number not in applied:
                    for statement in statements:
                        run(statement)
                    run("INSERT INTO schema_migration VALUES (?, ?)", (number, time.time_ns() // 1_000_000))
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")

    def transaction(self) -> "_SqliteTransaction":
        """Begin a writing transaction; see Store."""
        return self._transaction

    async def fetch_one(self, query: Query[Row], **parameters: Value) -> Row | None:
        """Return the first row of a reading statement; see Store."""
        async with self._lock:
            return await self._transaction.fetch_one(query, **parameters)

    async def fetch_all(self, query: Query[Row], **parameters: Value) -> list[Row]:
        """Return all rows of a reading statement; see Store."""
        async with self._lock:
            return await self._transaction.fetch_all(query, **parameters)

    async def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class _SqliteTransaction:
    """The transaction of a store: there is one at a time, so one object serves them all."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def __aenter__(self) -> "_SqliteTransaction":
        await self._store._lock.acquire()
        try:
            self._store.connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._store._lock.release()
            if isinstance(error, sqlite3.Error):
                raise StoreError(str(error)) from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._store.connection.execute("COMMIT" if kind is None else "ROLLBACK")
        finally:
            self._store._lock.release()

    async def fetch_one(self, query: Query[Row], **parameters: Value) -> Row | None:
        cursor = self._run(query, parameters)
        found = cursor.fetchone()
        # A statement with RETURNING must be run to its end before the transaction is.
        cursor.close()
        return None if found is None else query.row(*found)

    async def fetch_all(self, query: Query[Row], **parameters: Value) -> list[Row]:
        return [query.row(*values) for values in self._run(query, parameters)]

    async def execute(self, query: Query[Any], **parameters: Value) -> int:
        return self._run(query, parameters).rowcount

    def savepoint(self) -> "_Savepoint":
        return _Savepoint(self._store.connection)

    def _run(self, query: Query[Any], parameters: dict[str, Value]) -> sqlite3.Cursor:
        try:
            return self._store.connection.execute(query.sql, parameters)
        except sqlite3.IntegrityError:
            raise ConflictError("a row of this name exists already") from None


class _Savepoint:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def __aenter__(self) -> None:
        self._connection.execute("SAVEPOINT inner_step")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._connection.execute("ROLLBACK TO inner_step")
        self._connection.execute("RELEASE inner_step")
