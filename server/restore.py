"""Restore: a backup becomes a home directory's state, as a whole or not at all.

Everything is unpacked and checked beside what is there. One rename decides: before it nothing has changed, after it
the restore is as good as done, and until all files are in their places no command works on that home.

What something else restored, pg_restore or a snapshot of the file, is made ready by `end_open_in`.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from fidoloop.server.archive import DATABASE, DIRECTORIES, BackupError, Manifest, extract, open_archive
from fidoloop.server.backup import check_database, database_path
from fidoloop.server.config import RESTORE_PENDING, load_config, make_config
from fidoloop.server.ended import Ended, end_open
from fidoloop.server.home_lock import using_home
from fidoloop.server.settings.layers import FILE_NAME, read_layers
from fidoloop.server.store.base import migrations
from fidoloop.server.store.open import open_store
from fidoloop.server.store.sqlite import SqliteStore

_BESIDE_DATABASE = ("-wal", "-shm", "-journal")


class Restored(NamedTuple):
    """What was restored; `replaced` is where the files that were there before are now."""

    manifest: Manifest
    replaced: Path | None


async def restore(home: Path, source: Path, *, force: bool, at: datetime) -> Restored:
    """Make the backup in `source` the state of `home`. With `force` what is there is put aside, else it is refused.

    What was open in its database ends, see `end_open`. A database of PostgreSQL is not touched.

    Raises:
        BackupError: no backup, damaged, of a newer fidoloop, without the database that its configuration needs or
            with one that it does not, or the home has a state already.
        ConfigError: the home is in use, or the backup's configuration cannot be used.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with using_home(home, alone=True), tempfile.TemporaryDirectory(prefix=".restore.", dir=home) as name:
        staged = Path(name) / "new"
        staged.mkdir(mode=0o700)
        with open_archive(source) as (manifest, archive):
            if manifest.schema > migrations()[-1][0]:
                raise BackupError(f"{source}: made by fidoloop {manifest.fidoloop}, which is newer than this one")
            extract(manifest, archive, staged)
        if manifest.has_database and check_database(staged / DATABASE) != manifest.schema:
            raise BackupError(f"{source}: the database is not of the manifest's schema")
        targets = _targets(home, staged, source)
        present = [path for path in _present(targets) if not _is_empty(path)]
        if present and not force:
            raise BackupError(f"{home} has a state already: {present[0].name} is there (--force puts it aside)")
        if manifest.has_database:
            await _make_ready(staged / DATABASE, at)
        replaced = home / f"replaced-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}" if present else None
        pending = home / RESTORE_PENDING
        shutil.rmtree(pending, ignore_errors=True)
        _sync(staged)
        staged.rename(pending)
        _put_in_place(pending, targets, replaced)
    return Restored(manifest, replaced)


async def end_open_in(home: Path, *, at: datetime) -> Ended:
    """End what was open in the database of `home`, which something else restored, before any server uses it.

    Raises:
        BackupError: there is no such file.
        ConfigError: the home is in use, or its configuration cannot be used.
        StoreError: the database cannot be used, or its tables are of another version.
    """
    with using_home(home, alone=True):
        config = load_config(home, fallback_base_url="https://localhost")
        path = database_path(config)
        if path is not None and not path.exists():
            raise BackupError(f"{path}: there is no database: restore it first")
        store = await open_store(config.database, migrate=config.migrate)
        try:
            return await end_open(store, now=int(1000 * at.timestamp()))
        finally:
            await store.close()


def _targets(home: Path, staged: Path, source: Path) -> dict[str, Path]:
    """Return where each thing goes, by its name in the backup: the database where the restored file says."""
    layers = read_layers(staged / FILE_NAME)
    config = make_config(home, layers, fallback_base_url="https://localhost", while_restoring=True)
    names = [FILE_NAME, *(name for name in DIRECTORIES if name != "tls" or (staged / name).exists())]
    targets = {name: home / name for name in names}
    path = database_path(config)
    if path is not None and not (staged / DATABASE).exists():
        raise BackupError(f"{source}: it has no database, and its settings name no PostgreSQL")
    if path is None and (staged / DATABASE).exists():
        raise BackupError(f"{source}: it has a database that its settings do not name: they name PostgreSQL")
    return targets if path is None else {DATABASE: path} | targets


def _present(targets: dict[str, Path]) -> Iterator[Path]:
    """Give what is there of the state that is about to be replaced."""
    for name, path in targets.items():
        if path.exists():
            yield path
        if name == DATABASE:
            beside = (path.with_name(path.name + suffix) for suffix in _BESIDE_DATABASE)
            yield from (file for file in beside if file.exists())


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


async def _make_ready(database: Path, at: datetime) -> None:
    """Bring the tables up to date, and end what was open."""
    store = SqliteStore(database)
    try:
        await end_open(store, now=int(1000 * at.timestamp()))
        # One file again: what is in the log goes into the database.
        store.connection.execute("PRAGMA journal_mode=DELETE")
    finally:
        await store.close()


def _put_in_place(pending: Path, targets: dict[str, Path], replaced: Path | None) -> None:
    if replaced is not None:
        replaced.mkdir(mode=0o700, exist_ok=True)
    for path in list(_present(targets)):
        if replaced is None:
            path.rmdir()  # only empty directories were there
        else:
            shutil.move(path, replaced / path.name)
    for name, target in targets.items():
        if (pending / name).exists():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.move(pending / name, target)
    pending.rmdir()


def _sync(directory: Path) -> None:
    """Have the disk hold every file below `directory`."""
    for path in [directory, *directory.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
