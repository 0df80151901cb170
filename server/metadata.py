"""Metadata statements: JSON files in a directory that is looked at again while the server runs.

One statement per file, or, in the file of the metadata service, many.
"""

import logging
from pathlib import Path

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.metadata import MAX_STATEMENT_BYTES, MetadataEntry, parse_metadata, read_entry
from fidoloop.server.errors import ConfigError
from fidoloop.server.watched_files import WatchedFiles

SERVICE_FILE = "metadata-service.json"
_log = logging.getLogger("fidoloop.server.metadata")


class MetadataDirectory:
    """The statements of `<home>/metadata/*.json`, by AAID in upper case; see WatchedFiles.

    What the operator added stands before what the metadata service says.
    """

    def __init__(self, directory: Path) -> None:
        self._files = WatchedFiles(directory, read_metadata_file, _log)
        self._by_aaid: dict[str, MetadataEntry] = {}

    def refresh(self, now: int) -> None:
        """Look at the directory again, at most once a second; `now` in epoch milliseconds."""
        if self._files.refresh(now):
            self._by_aaid = {entry.statement.aaid.upper(): entry for _, entry in self._in_order()}

    def get(self, aaid: str) -> MetadataEntry | None:
        """Return the entry of `aaid` (upper case), or None."""
        return self._by_aaid.get(aaid)

    def all(self) -> list[tuple[str, MetadataEntry]]:
        """Return the name of its file and the entry of every AAID, in the order of the AAIDs."""
        found = {entry.statement.aaid.upper(): (name, entry) for name, entry in self._in_order()}
        return [found[aaid] for aaid in sorted(found)]

    def _in_order(self) -> list[tuple[str, MetadataEntry]]:
        files = sorted(self._files.values().items(), key=lambda item: (item[0] != SERVICE_FILE, item[0]))
        return [(name, entry) for name, entries in files for entry in entries]


def read_metadata_file(path: Path) -> list[MetadataEntry]:
    """Return the entries of a file. Raises OSError, MalformedError."""
    document = path.read_bytes()
    if path.name != SERVICE_FILE:
        return [parse_metadata(document)]
    value = strictjson.loads(document)
    entries = value.get("entries") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise MalformedError("$", "not as `metadata import` wrote it")
    return [read_entry(entry, f"$.entries[{index}]") for index, entry in enumerate(entries)]


def add_metadata_file(source: Path, directory: Path) -> MetadataEntry:
    """Validate the statement in `source` and copy it into `directory` under its AAID.

    Raises:
        ConfigError: it cannot be read, or is no metadata statement.
    """
    try:
        document = read_statement(source)
        entry = parse_metadata(document)
    except MalformedError as error:
        raise ConfigError(f"{source}: {error}") from None
    put_statement(directory, entry.statement.aaid.upper().replace("#", "-"), document)
    return entry


def read_statement(source: Path) -> bytes:
    """Return what `source` holds, at most one byte more than a statement may have. Raises ConfigError."""
    try:
        with source.open("rb") as file:
            return file.read(MAX_STATEMENT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{source}: {error}") from None


def put_statement(directory: Path, name: str, document: bytes) -> None:
    """Write a statement so that a server that runs never sees half of it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = directory / f"{name}.json"
    staged = target.with_suffix(".new")
    staged.write_bytes(document)
    staged.replace(target)
