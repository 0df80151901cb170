"""A directory of files that is looked at again while the server runs."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from fidoloop.protocol.errors import MalformedError

RELOAD_MILLIS = 1000
T = TypeVar("T")
_Stamp = tuple[int, int, int]


class _Known(NamedTuple, Generic[T]):
    stamp: _Stamp
    value: T | None


class WatchedFiles(Generic[T]):
    """What the files of a directory hold, by their names, as `parse` reads them.

    A changed file is taken up within a second. One that cannot be read is reported in `log`, and what was known from
    it stays; one that is removed takes what it held away.
    """

    def __init__(
        self, directory: Path, parse: Callable[[Path], T], log: logging.Logger, *, pattern: str = "*.json"
    ) -> None:
        """Take the parts; nothing is read before `refresh`. `parse` raises MalformedError or OSError."""
        self._pattern = pattern
        self._directory = directory
        self._parse = parse
        self._log = log
        self._files: dict[str, _Known[T]] = {}
        self._looked_at = 0

    def refresh(self, now: int) -> bool:
        """Look at the directory again, at most once a second; tell whether anything changed.

        `now` is in epoch milliseconds.
        """
        if 0 <= now - self._looked_at < RELOAD_MILLIS:
            return False
        self._looked_at = now
        files = {path.name: path for path in sorted(self._directory.glob(self._pattern))}
        gone = self._files.keys() - files.keys()
        for name in gone:
            del self._files[name]
        changed = [self._refresh_file(name, path) for name, path in files.items()]
        return bool(gone) or any(changed)

    def values(self) -> dict[str, T]:
        """Return what is known, in the order of the files' names."""
        known = ((name, self._files[name].value) for name in sorted(self._files))
        return {name: value for name, value in known if value is not None}

    def _refresh_file(self, name: str, path: Path) -> bool:
        known = self._files.get(name)
        value = known.value if known else None
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
            if known is not None and known.stamp == stamp:
                return False
            value = self._parse(path)
        except MalformedError as error:
            self._log.error("%s cannot be used: %s", name, str(error).removeprefix(f"{name}: "))
        except OSError as error:
            self._log.error("%s cannot be read: %s", name, error.strerror)
            return False
        self._files[name] = _Known(stamp, value)
        return True
