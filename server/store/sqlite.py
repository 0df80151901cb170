"""The store on SQLite, through the standard library and called directly.

A statement takes microseconds, less than handing it to a thread would; a lock keeps the tasks of this process from
interleaving in one transaction, BEGIN IMMEDIATE and the busy timeout do the same between processes. Transactions
that end in one turn of the event loop share a commit (`SharedCommits`).
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fidoloop.server.errors import ConflictError, StoreError
from fidoloop.server.store.base import Change, Query, Row, Value
from fidoloop.server.store.checkpoints import Checkpoints
from fidoloop.server.store.schema import TABLE, missing
from fidoloop.server.store.shared_commits import BUSY_TIMEOUT_SECONDS, SharedCommits, is_busy, patiently

CACHED_STATEMENTS = 256
CACHE_KIB = 16_384
"""Of pages: where tokens and proofs come and go, SQLite's own 2 MiB are read from the file again and again."""
# The last resort against a log that grows and grows; see `Checkpoints`.
MOST_PAGES_OF_LOG = 32000


class SqliteStore:
    """A Store in one SQLite file (WAL, synchronous=NORMAL), readable by its owner only."""

    def __init__(self, path: Path) -> None:
        """Open or create the file and bring its tables up to date. Raises StoreError."""
        self.lock = asyncio.Lock()
        try:
            path.touch(mode=0o600)
            self.connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, cached_statements=CACHED_STATEMENTS
            )
            self.checkpoints = Checkpoints(path)
            self.commits = SharedCommits(self.connection, self.lock, self.checkpoints.count_commit)
            self._transaction = _SqliteTransaction(self.commits, self.connection.cursor())
            try:
                self._prepare()
            except (sqlite3.Error, StoreError):
                self.connection.close()
                raise
        except StoreError as error:
            raise StoreError(f"{path}: {error}") from None
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: {error}") from None

    def _prepare(self) -> None:
        run = self.connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run(f"PRAGMA wal_autocheckpoint={MOST_PAGES_OF_LOG}")
        run(f"PRAGMA cache_size=-{CACHE_KIB}")
        run("PRAGMA foreign_keys=ON")
        run("BEGIN IMMEDIATE")
        try:
            run(TABLE)
            applied = {number for (number,) in run("SELECT number FROM schema_migration")}
            for number, statements in missing(applied):
                for statement in statements:
                    run(statement)
                run("INSERT INTO schema_migration VALUES (?, ?)", (number, time.time_ns() // 1_000_000))
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")
        # From here on waiting is left to `patiently`.
        run("PRAGMA busy_timeout=0")

    def transaction(self) -> "_SqliteTransaction":
        """Begin a writing transaction; see Store."""
        return self._transaction

    async def fetch_one(self, query: Query[Row], **parameters: Value) -> Row | None:
        """Return the first row of a reading statement; see Store."""
        async with self.lock:
            found = await patiently(lambda: self._transaction.rows(query, parameters))
        await self.commits.settled()
        return query.row(*found[0]) if found else None

    async def fetch_all(self, query: Query[Row], **parameters: Value) -> list[Row]:
        """Return all rows of a reading statement; see Store."""
        async with self.lock:
            found = await patiently(lambda: self._transaction.rows(query, parameters))
        await self.commits.settled()
        return [query.row(*values) for values in found]

    async def execute(self, query: Query[Any], **parameters: Value) -> int:
        """Run a single writing statement; see Store."""
        # It is undone by itself where it fails: it needs no savepoint.
        await self.commits.enter(savepoint=False)
        try:
            changed = self._transaction.run(query, parameters).rowcount
        except BaseException:
            self.commits.leave(undo=True)
            raise
        self.commits.leave()
        await self.commits.settled()
        return changed

    def apply(self, changes: Sequence[Change]) -> Awaitable[bool]:
        """Make all changes or none; see Store."""
        return self.commits.apply(changes)

    async def close(self) -> None:
        """Close the connection."""
        self.commits.flush()
        await self.checkpoints.finished()
        self.connection.close()


class _SqliteTransaction:
    """The transaction of a store: there is one at a time, so one object and one cursor serve them all."""

    def __init__(self, commits: SharedCommits, cursor: sqlite3.Cursor) -> None:
        self._commits = commits
        self._cursor = cursor

    async def __aenter__(self) -> "_SqliteTransaction":
        await self._commits.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._commits.leave(undo=True)
            return
        self._commits.leave()
        await self._commits.settled()

    async def fetch_one(self, query: Query[Row], **parameters: Value) -> Row | None:
        found = self.rows(query, parameters)
        return query.row(*found[0]) if found else None

    async def fetch_all(self, query: Query[Row], **parameters: Value) -> list[Row]:
        return [query.row(*values) for values in self.rows(query, parameters)]

    async def execute(self, query: Query[Any], **parameters: Value) -> int:
        return self.run(query, parameters).rowcount

    def savepoint(self) -> "_Savepoint":
        return _Savepoint(self._cursor.connection)

    def rows(self, query: Query[Any], parameters: dict[str, Value]) -> list[tuple[Any, ...]]:
        """Return all rows: a statement with RETURNING must be run to its end before the transaction is."""
        return self.run(query, parameters).fetchall()

    def run(self, query: Query[Any], parameters: dict[str, Value]) -> sqlite3.Cursor:
        """Run a statement on the one cursor. Raises ConflictError, StoreError; sqlite3.Error where it is busy."""
        try:
            return self._cursor.execute(query.numbered, [parameters[name] for name in query.names])
        except sqlite3.IntegrityError:
            raise ConflictError("a row of this name exists already") from None
        except sqlite3.Error as error:
            if is_busy(error):
                raise
            raise StoreError(str(error)) from None


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
