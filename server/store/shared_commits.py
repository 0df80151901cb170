"""Transactions that end in one turn of the event loop are committed together.

A commit costs as much as all the statements of a log-in: the pages that it changed are written to SQLite's log, and
transactions that follow each other change the same pages. So the first one begins and each later one stands in a
savepoint, and nobody goes on before the commit that holds what he wrote. One that fails is undone alone; if the commit
fails, it fails for all of them.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from fidoloop.server.errors import ConflictError, StoreError
from fidoloop.server.store.base import Change

BUSY_TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 0.001
T = TypeVar("T")


async def patiently(run: Callable[[], T]) -> T:
    """Return `run()`, tried again while another connection has the database locked.

    SQLite's own busy handler would wait in the event loop's thread: for another store of the same loop, in vain.

    Raises:
        StoreError: it is locked for longer than BUSY_TIMEOUT_SECONDS.
    """
    deadline = None
    while True:
        try:
            return run()
        except sqlite3.OperationalError as error:
            now = time.monotonic()
            deadline = deadline or now + BUSY_TIMEOUT_SECONDS
            if not is_busy(error):
                raise
            if now > deadline:
                raise StoreError("the database is locked by another process") from None
        await asyncio.sleep(RETRY_SECONDS)


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection has the database locked."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


class _Queued(NamedTuple):
    changes: Sequence[Change]
    future: "asyncio.Future[bool]"


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
        self._waiting: list[tuple[asyncio.Future[Any], bool]] = []
        self._queue: list[_Queued] = []
        self._queued_before = 0
        self._busy_until: float | None = None
        self._cursor = connection.cursor()

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
            self._waiting.append((future, True))
            await future

    def apply(self, changes: Sequence[Change]) -> "asyncio.Future[bool]":
        """Make all changes or none, in the next commit; see Store. Raises StoreError, ConflictError."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(_Queued(changes, future))
        self._schedule()
        return future

    def flush(self) -> None:
        """Run and commit everything that waits."""
        if self._run_queue():
            self.commit()

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
        queued = len(self._queue)
        if self._lock.locked():
            # Whoever is in the middle of a transaction schedules the commit when he leaves; a reader does not.
            if queued:
                self._later()
        elif queued > self._queued_before:
            # More may come in one more turn, and a larger commit costs little more.
            self._queued_before = queued
            self._schedule()
        else:
            self._queued_before = 0
            if self._run_queue():
                self.commit()

    def _later(self) -> None:
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._schedule)

    def _run_queue(self) -> bool:
        """Run what is queued in the open transaction, or in a new one; False where the database is locked."""
        queue, self._queue = self._queue, []
        try:
            while queue:
                joins = self._connection.in_transaction
                if not joins:
                    self._begin()
                self._open = True
                self._busy_until = None
                half_done = self._run_all(queue, savepoints=joins)
                if half_done is None:
                    break
                # Rare, so that no savepoint need stand around what everybody does: the others start again.
                self._connection.execute("ROLLBACK")
                self._open = False
                queue.remove(half_done)
                if not half_done.future.done():
                    half_done.future.set_result(False)
        except sqlite3.Error as error:
            self._queue = queue
            return self._broken(error)
        return True

    def _run_all(self, queue: list[_Queued], *, savepoints: bool) -> _Queued | None:
        """Run everybody's changes; stop at, and return, one that changed something before it went wrong."""
        results = []
        for queued in queue:
            changes, future = queued
            if future.done():
                continue
            guarded = savepoints and (len(changes) > 1 or changes[0].rows > 1)
            if guarded:
                self._cursor.execute("SAVEPOINT changes")
            made, touched = self._make(changes, future)
            if guarded:
                if not made:
                    self._cursor.execute("ROLLBACK TO changes")
                self._cursor.execute("RELEASE changes")
            elif touched and not made:
                return queued
            results.append((future, made))
        self._waiting.extend(results)
        return None

    def _make(self, changes: Sequence[Change], future: "asyncio.Future[bool]") -> tuple[bool, bool]:
        """Tell whether all `changes` were made, and whether any row was; a conflict is told to him who waits."""
        execute = self._cursor.execute
        touched = False
        try:
            for query, parameters, rows in changes:
                changed = execute(query.numbered, [parameters[name] for name in query.names]).rowcount
                touched = touched or changed > 0
                if changed != rows:
                    return False, touched
        except sqlite3.IntegrityError:
            future.set_exception(ConflictError("a row of this name exists already"))
            return False, touched
        return True, touched

    def _broken(self, error: sqlite3.Error) -> bool:
        """Wait for a locked database, up to the limit; what else failed has failed for everybody."""
        if not self._open and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            now = time.monotonic()
            self._busy_until = self._busy_until or now + BUSY_TIMEOUT_SECONDS
            if now < self._busy_until:
                self._later()
                return False
        self._busy_until = None
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        queue, self._queue = self._queue, []
        self._waiting.extend((future, False) for _, future in queue)
        self._wake(StoreError(str(error)))
        return False

    def _wake(self, error: StoreError | None) -> None:
        self._open = False
        waiting, self._waiting = self._waiting, []
        for future, result in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(StoreError(*error.args))
