"""SQLite's log is copied into the database by a thread, not by the transaction that happens to make it too long.

A checkpoint waits for the disk several times; in the event loop's thread it would hold up every client meanwhile.
"""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

COMMITS = 2000
"""So many commits between two checkpoints: some 40 MiB of log under load."""
BUSY_TIMEOUT_SECONDS = 5.0
_log = logging.getLogger("fidoloop.server.store")


class Checkpoints:
    """Checkpoints of one database file, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._commits = 0
        self._running: asyncio.Future[None] | None = None

    def count_commit(self) -> None:
        """Note a commit; with the last one of COMMITS, start a checkpoint."""
        self._commits += 1
        if self._commits >= COMMITS and (self._running is None or self._running.done()):
            self._commits = 0
            self._running = asyncio.get_running_loop().run_in_executor(None, checkpoint, self._path)

    async def finished(self) -> None:
        """Return when no checkpoint runs."""
        if self._running is not None:
            await self._running


def checkpoint(path: Path) -> None:
    """Copy the log of the database at `path`, so that it starts over; a failure is logged, the log then grows on."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            # First while others write; what they wrote meanwhile is little, and only for that they have to wait.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
    except sqlite3.Error as error:
        _log.warning("checkpoint of %s: %s", path, error)
