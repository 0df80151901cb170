"""Metadata statements: one JSON file per AAID in a directory that is looked at again while the server runs."""

import logging
from pathlib import Path

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MetadataEntry, parse_metadata
from fidoloop.server.errors import ConfigError

RELOAD_MILLIS = 1000
_log = logging.getLogger("fidoloop.server.metadata")


class MetadataDirectory:
    """The statements of `<home>/metadata/*.json`, by AAID in upper case.

    A changed file is taken up within a second. One that cannot be read is reported in the log, and what was known from
    it stays; one that is removed takes its statement away.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, tuple[tuple[int, int], MetadataEntry | None]] = {}
        self._by_aaid: dict[str, MetadataEntry] = {}
        self._looked_at = 0

    def refresh(self, now: int) -> None:
        """Look at the directory again, at most once a second; `now` in epoch milliseconds."""
        if 0 <= now - self._looked_at < RELOAD_MILLIS:
            return
        self._looked_at = now
        files = {path.name: path for path in sorted(self._directory.glob("*.json"))}
        changed = self._files.keys() - files.keys()
        for name in changed:
            del self._files[name]
        changed_any = bool(changed)
        for name, path in files.items():
            changed_any |= self._refresh_file(name, path)
        if changed_any:
            entries = [entry for _, entry in (self._files[name] for name in sorted(self._files)) if entry]
            self._by_aaid = {entry.statement.aaid.upper(): entry for entry in entries}

    def get(self, aaid: str) -> MetadataEntry | None:
        """Return the entry of `aaid` (upper case), or None."""
        return self._by_aaid.get(aaid)

    def _refresh_file(self, name: str, path: Path) -> bool:
        known = self._files.get(name)
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            if known is not None and known[0] == stamp:
                return False
            entry: MetadataEntry | None = parse_metadata(path.read_bytes())
        except (OSError, MalformedError) as error:
            _log.error("metadata file %s cannot be used: %s", name, error)
            entry = known[1] if known else None
            if not isinstance(error, MalformedError):
                return False
        self._files[name] = (stamp, entry)
        return True


def add_metadata_file(source: Path, directory: Path) -> MetadataEntry:
    """Validate the statement in `source` and copy it into `directory` under its AAID.

    Raises:
        ConfigError: it cannot be read, or is no metadata statement.
    """
    try:
        document = source.read_bytes()
        entry = parse_metadata(document)
    except (OSError, MalformedError) as error:
        raise ConfigError(f"{source}: {error}") from None
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = directory / f"{entry.statement.aaid.upper().replace('#', '-')}.json"
    # A server that runs must never see half a file.
    staged = target.with_suffix(".new")
    staged.write_bytes(document)
    staged.replace(target)
    return entry
