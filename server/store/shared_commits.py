"""Transactions that end in one turn of the event loop are committed together.

A commit costs as much as all the statements of a log-in: the pages that it changed are written to SQLite's log, and
transactions that follow each other change the same pages. So the first one begins and each later one stands in a
savepoint, and nobody goes on before the commit that holds what he wrote. One that fails is undone alone; if the commit
fails, it fails for all of them.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from fidoloop.server.errors import StoreError

BUSY_TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 0.001
T = TypeVar("T")


async def patiently(run: Callable[[], T]) -> T:
    """Return `run()`, tried again while another connection has the database locked.

    SQLite's own busy handler would wait in the event loop's thread: for another store of the same loop, in vain.
    """
    deadline = None
    while True:
        try:
            return run()
        except sqlite3.OperationalError as error:
            now = time.monotonic()
            deadline = deadline or now + BUSY_TIMEOUT_SECONDS
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or now > deadline:
                raise
        await asyncio.sleep(RETRY_SECONDS)


class SharedCommits:
    """The commits of one connection; `lock` keeps others out of an open transaction, `committed` is told of each."""

    def __init__(self, connection: sqlite3.Connection, lock: asyncio.Lock, committed: Callable[[], None]) -> None:
        self._connection = connection
        self._lock = lock
        self._committed = committed
        self._open = False
        self._alone = False
        self._savepoint = False
        self._scheduled = False
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self, *, savepoint: bool = True) -> None:
        """Begin a transaction, once nobody else is in one. Raises StoreError."""
        await self._lock.acquire()
        self._alone = not self._open
        self._savepoint = savepoint and not self._alone
        try:
            if self._alone:
                await patiently(self._begin)
            elif savepoint:
                self._connection.execute("SAVEPOINT shared")
        except BaseException as error:
            self._lock.release()
            if isinstance(error, sqlite3.Error):
                raise StoreError(str(error)) from None
            raise

    def leave(self, *, undo: bool = False) -> None:
        """End what `enter` began: undone, or to be committed in the next turn. Raises StoreError."""
        try:
            if not self._connection.in_transaction:
                # After such as a full disk SQLite has undone everything by itself.
                self._wake(StoreError("the transaction was rolled back"))
                if undo:
                    return
                raise StoreError("the transaction was rolled back")
            if undo and self._alone:
                self._connection.execute("ROLLBACK")
                return
            if self._savepoint:
                if undo:
                    self._connection.execute("ROLLBACK TO shared")
                self._connection.execute("RELEASE shared")
            self._open = True
            self._schedule()
        finally:
            self._lock.release()

    async def settled(self) -> None:
        """Return when what this connection shows is committed. Raises StoreError where it could not be."""
        if self._open:
            self._schedule()
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def commit(self) -> None:
        """Commit what was left, and wake those who wait for it."""
        if not self._open:
            return
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._wake(StoreError(str(error)))
        else:
            self._wake(None)
            self._committed()

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._scheduled = False
        # Whoever is in the middle of a transaction schedules the commit when he leaves.
        if not self._lock.locked():
            self.commit()

    def _wake(self, error: StoreError | None) -> None:
        self._open = False
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(StoreError(*error.args))
