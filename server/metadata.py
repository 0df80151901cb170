"""Metadata statements: one JSON file per AAID in a directory that is looked at again while the server runs."""

import logging
from pathlib import Path

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MetadataEntry, parse_metadata
from fidoloop.server.errors import ConfigError
from fidoloop.server.watched_files import WatchedFiles

_log = logging.getLogger("fidoloop.server.metadata")


class MetadataDirectory:
    """The statements of `<home>/metadata/*.json`, by AAID in upper case; see WatchedFiles."""

    def __init__(self, directory: Path) -> None:
        self._files = WatchedFiles(directory, lambda path: parse_metadata(path.read_bytes()), _log)
        self._by_aaid: dict[str, MetadataEntry] = {}

    def refresh(self, now: int) -> None:
        """Look at the directory again, at most once a second; `now` in epoch milliseconds."""
        if self._files.refresh(now):
            self._by_aaid = {entry.statement.aaid.upper(): entry for entry in self._files.values().values()}

    def get(self, aaid: str) -> MetadataEntry | None:
        """Return the entry of `aaid` (upper case), or None."""
        return self._by_aaid.get(aaid)

    def all(self) -> list[MetadataEntry]:
        """Return every entry, in the order of the AAIDs."""
        return [self._by_aaid[aaid] for aaid in sorted(self._by_aaid)]


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
