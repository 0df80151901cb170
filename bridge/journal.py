"""Operations under way, kept so that whatever stops the phone, its next start finds and finishes them.

One file per operation, which its process holds locked and to which it adds a line at each step: a process that was
killed leaves the file, unlocked.
"""

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError

MAX_ENTRY_BYTES = 4 << 20
_BEGUN = "begun-"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far an operation is.

    `redeeming`: its token may be redeemed. `redeemed`: `uaf_request` came. `signed`: `uaf_response` by `keys`, (AAID,
    KeyID) pairs, may have been sent. Of a registration `target_name` and `algorithm`
    (0: the policy chooses) are what its user said, and from when on it makes keys, `held` the KeyIDs before it and
    `target_key_ids` (hexadecimal) those of the dispatch target to be. `begun` is in epoch milliseconds.
    """

    payload: str
    begun: int = 0
    target_name: str = "phone"
    algorithm: int = 0
    step: Literal["redeeming", "redeemed", "signed"] = "redeeming"
    uaf_request: str = ""
    uaf_response: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    held: tuple[str, ...] = ()
    target_key_ids: tuple[str, ...] = ()


class Entry:
    """One operation, which nobody else works on as long as this is open; a context manager that closes it."""

    def __init__(self, path: Path, descriptor: int, record: Record) -> None:
        self.record = record
        self._path = path
        self._descriptor = descriptor

    def note(self, **changes: Any) -> None:  # noqa: ANN401 - members of Record
        """Keep a step before it is taken, or what came of it."""
        self.record = msgspec.structs.replace(self.record, **changes)
        _write(self._path, self._descriptor, self.record)

    def forget(self) -> None:
        """Forget the operation: it ended, one way or the other."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Journal:
    """The operations of one phone, in a directory of its own (0700)."""

    def __init__(self, directory: Path) -> None:
        """Take the directory; it is made when there is something to keep."""
        self._directory = directory

    def begin(self, payload: str, *, target_name: str = "phone", algorithm: int = 0) -> Entry:
        """Keep an operation whose token is about to be redeemed. Raises OSError where it cannot be kept."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        path = self._directory / str(uuid.uuid4())
        begun = path.with_name(f"{_BEGUN}{path.name}")
        descriptor = os.open(begun, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        entry = Entry(path, descriptor, Record(payload, int(time.time() * 1000), target_name, algorithm))
        # It gets its name when it is locked and has something in it: no other process sees it before.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            _write(path, descriptor, entry.record)
            begun.rename(path)
        except OSError:
            os.close(descriptor)
            begun.unlink()
            raise
        return entry

    def left_over(self) -> Iterator[Entry]:
        """Yield the operations that nobody works on any more, oldest first; each is closed when the next is wanted."""
        for path in sorted(self._paths(), key=_age):
            entry = _claim(path)
            if entry is not None:
                with entry:
                    yield entry

    def __bool__(self) -> bool:
        """Tell whether any operation is under way, here or in another process."""
        return any(True for _ in self._paths())

    def _paths(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            for path in self._directory.iterdir():
                if not path.name.startswith(_BEGUN):
                    yield path


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _claim(path: Path) -> Entry | None:
    """Return the operation kept at `path`; None where a process works on it, or it has just ended."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    record = _last(os.pread(descriptor, MAX_ENTRY_BYTES, 0))
    if os.fstat(descriptor).st_nlink == 0 or record is None:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        return None
    return Entry(path, descriptor, record)


def _last(content: bytes) -> Record | None:
    """Return the last line that was written whole."""
    whole = content[: content.rfind(b"\n") + 1].splitlines()
    for line in reversed(whole):
        with suppress(MalformedError):
            return strictjson.decode(line, Record)
    return None


def _write(path: Path, descriptor: int, record: Record) -> None:
    """Add a line, or nothing. Raises OSError, which names the file: such as where the disk is full."""
    line = strictjson.encode(record).encode("utf-8") + b"\n"
    try:
        written = os.write(descriptor, line)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    if written < len(line):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
