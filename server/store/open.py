"""Opens a store by its URL."""

from pathlib import Path

from fidoloop.server.errors import ConfigError
from fidoloop.server.store.base import Store

SQLITE = "sqlite:///"


async def open_store(url: str) -> Store:
    """Open the store at `url` (sqlite:///PATH or postgresql://…) and bring its tables up to date.

    Raises:
        ConfigError: another kind of URL.
        StoreError: it cannot be opened.
    """
    if url.startswith(SQLITE):
        from fidoloop.server.store.sqlite import SqliteStore

        return SqliteStore(Path(url.removeprefix(SQLITE)))
    if url.startswith(("postgresql://", "postgres://")):
        from fidoloop.server.store.postgres import PostgresStore

        return await PostgresStore.open(url)
    raise ConfigError("database is neither sqlite:///PATH nor postgresql://…")
