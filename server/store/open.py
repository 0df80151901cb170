"""Opens a store by its URL."""

import sqlite3
from contextlib import closing
from pathlib import Path

from fidoloop.server.errors import ConfigError
from fidoloop.server.store.base import Store
from fidoloop.server.store.schema import APPLIED

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")


async def open_store(url: str, *, migrate: bool = False) -> Store:
    """Open the store at `url` (sqlite:///PATH or postgresql://…).

    A file's tables are brought up to date; PostgreSQL's, which others may be using, only if `migrate`.

    Raises:
        ConfigError: another kind of URL.
        StoreError: it cannot be opened, is older (PostgreSQL) or newer than this version.
    """
    if url.startswith(SQLITE):
        from fidoloop.server.store.sqlite import SqliteStore

        return SqliteStore(Path(url.removeprefix(SQLITE)))
    if url.startswith(POSTGRESQL):
        from fidoloop.server.store.postgres import PostgresStore

        return await PostgresStore.open(url, migrate=migrate)
    raise ConfigError("database is neither sqlite:///PATH nor postgresql://…")


async def migrate_store(url: str) -> list[int]:
    """Bring the tables of the store at `url` up to date, and return the numbers of the migrations that it took.

    Raises:
        ConfigError, StoreError: as `open_store`.
    """
    if url.startswith(POSTGRESQL):
        from fidoloop.server.store.postgres import migrate_postgres

        return await migrate_postgres(url)
    before = _migrations_of_file(Path(url.removeprefix(SQLITE))) if url.startswith(SQLITE) else set()
    store = await open_store(url)
    try:
        return [row.rows for row in await store.fetch_all(APPLIED) if row.rows not in before]
    finally:
        await store.close()


def _migrations_of_file(path: Path) -> set[int]:
    if not path.exists():
        return set()
    try:
        with closing(sqlite3.connect(path)) as connection:
            return {number for (number,) in connection.execute(APPLIED.numbered)}
    except sqlite3.Error:
        # An empty file, or one that will be refused when it is opened.
        return set()
