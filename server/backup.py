"""Backup: the database as it is at one moment, and the operator's files beside it, while the server runs.

A database of PostgreSQL is not in it: pg_dump is that one's backup.
"""

import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import fidoloop
from fidoloop.protocol import strictjson
from fidoloop.server.archive import DATABASE, FORMAT, MANIFEST, BackupError, Manifest, describe
from fidoloop.server.config import ServerConfig
from fidoloop.server.settings.layers import FILE_NAME
from fidoloop.server.store.base import migrations
from fidoloop.server.store.open import SQLITE

_TLS_FILES = ("ca.pem", "ca.key", "server.pem", "server.key", "vapid.key")


def back_up(config: ServerConfig, target: Path, *, with_tls_keys: bool, at: datetime) -> Manifest:
    """Write a backup of a server to `target`, in one step and for its owner only; return what it holds.

    Raises:
        BackupError: there is no database yet, or nothing at all, or the database is damaged.
    """
    database = database_path(config)
    if database is not None and not database.exists():
        raise BackupError(f"{database}: there is nothing to back up yet")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
        copies = Path(name) / "files"
        copies.mkdir(mode=0o700)
        schema, names = migrations()[-1][0], []
        if database is not None:
            schema, names = _copy_database(database, copies / DATABASE), [DATABASE]
        # Copied first: whoever changes one meanwhile must not change it between its digest and its bytes.
        names += _copy_files(config, copies, with_tls_keys=with_tls_keys)
        if not names:
            raise BackupError(f"{config.home}: there is nothing to back up: the database is PostgreSQL, see pg_dump")
        entries = tuple(describe(copies / each, each) for each in names)
        created = at.astimezone(UTC).isoformat(timespec="seconds")
        manifest = Manifest(FORMAT, fidoloop.__version__, created, schema, entries)
        staged = Path(name) / "backup"
        _write(staged, manifest, copies)
        staged.replace(target)
    return manifest


def database_path(config: ServerConfig) -> Path | None:
    """Return where the SQLite database is, None where it is PostgreSQL."""
    return Path(config.database.removeprefix(SQLITE)) if config.database.startswith(SQLITE) else None


def check_database(path: Path) -> int:
    """Return the number of the last migration of a database. Raises BackupError where it is damaged."""
    try:
        with closing(sqlite3.connect(path)) as database:
            (result,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            (schema,) = database.execute("SELECT MAX(number) FROM schema_migration").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{path.name}: {error}") from None
    if result != "ok" or schema is None:
        raise BackupError(f"{path.name}: the database is damaged: {result}")
    return int(schema)


def _copy_database(source: Path, target: Path) -> int:
    """Copy the database as it is between two transactions, whoever writes meanwhile; see sqlite.org/backup.html."""
    try:
        with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(target)) as copy:
            origin.execute("PRAGMA query_only=ON")
            # All pages in one step: between two, others' transactions would make it start again.
            origin.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise BackupError(f"{source}: {error}") from None
    return check_database(target)


def _copy_files(config: ServerConfig, copies: Path, *, with_tls_keys: bool) -> list[str]:
    """Copy the operator's files, and return their names in the backup."""
    found = [config.home / FILE_NAME]
    for directory in (
        config.policy_directory,
        config.metadata_directory,
        config.fido2_metadata_directory,
        config.oauth_directory,
    ):
        found += sorted(directory.glob("*.json"))
    if with_tls_keys:
        found += sorted(config.oauth_directory.glob("*.pem"))
        found += [config.tls_directory / name for name in _TLS_FILES]
    names = [str(path.relative_to(config.home)) for path in found if path.is_file()]
    for name in names:
        (copies / name).parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(config.home / name, copies / name)
    return names


def _write(path: Path, manifest: Manifest, copies: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
            text = strictjson.encode(manifest).encode("utf-8")
            _add(archive, MANIFEST, len(text), io.BytesIO(text))
            for entry in manifest.files:
                with (copies / entry.name).open("rb") as source:
                    _add(archive, entry.name, entry.size, source)
        file.flush()
        os.fsync(file.fileno())


def _add(archive: tarfile.TarFile, name: str, size: int, source: io.BufferedIOBase) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, source)
