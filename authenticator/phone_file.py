"""A phone's file: one SQLite database, in which several parts of the phone keep what is theirs."""

import mmap
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

COMMITS = slice(48)
"""Where in `PhoneFile.index` the header of the WAL index lies (SQLite, "WAL-mode File Format", 2.1)."""


@dataclass
class _Index:
    memory: mmap.mmap
    descriptor: int
    users: int


# By device and inode. Closing any descriptor of a file makes a process lose all its locks on it, SQLite's too (SQLite,
# "How To Corrupt", 2.2): so an index is mapped once in a process, until nobody here has the phone's file open.
_indexes: dict[tuple[int, int], _Index] = {}
_lock = threading.Lock()
# A child must not find it held by a thread it does not have.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class PhoneFile:
    """A connection to a phone's file; a process opens such files through this class alone.

    `db` commits each statement, unless it is told to begin a transaction. `index[COMMITS]` is other bytes after every
    commit, by this connection, another or another process's: what SQLite itself looks at before it trusts what it has
    in memory. Where the file system cannot share memory it is empty, and tells nothing.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, making it (mode 0600) and its directory (0700) where they are missing."""
        # mkdir(parents=True) would leave the home itself open to others.
        for directory in reversed((path.parent, *path.parent.parents)):
            directory.mkdir(exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with _lock:
            self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("SELECT 1 FROM sqlite_master").fetchall()  # makes the index where there was none
            self._key = _map(f"{path}-shm")
        self.index: mmap.mmap | bytes = _indexes[self._key].memory if self._key is not None else b""

    def close(self) -> None:
        """Close the connection; more than once does no harm."""
        with _lock:
            self.db.close()
            key, self._key = self._key, None
            if key is None:
                return
            index = _indexes[key]
            index.users -= 1
            if index.users == 0:
                del _indexes[key]
                index.memory.close()
                os.close(index.descriptor)


def _map(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None  # the file system cannot share memory: SQLite works without
    key = (found.st_dev, found.st_ino)
    if key in _indexes:
        _indexes[key].users += 1
    else:
        descriptor = os.open(path, os.O_RDONLY)
        _indexes[key] = _Index(mmap.mmap(descriptor, COMMITS.stop, access=mmap.ACCESS_READ), descriptor, users=1)
    return key
