"""PostgreSQL that goes away: what was begun fails as the store's, what comes after is served."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from fidoloop.server import admin
from fidoloop.server.errors import StoreError
from fidoloop.server.store import queries
from fidoloop.server.store.base import Store
from fidoloop.server.store.open import open_store
from tests.server.postgres import schema_of

ATTEMPTS = 50


async def end_connections(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    await connection.close()


async def served_again(store: Store) -> None:
    """Return when a transaction goes through; each that does not is a StoreError."""
    for _ in range(ATTEMPTS):
        try:
            async with store.transaction() as transaction:
                await transaction.execute(queries.SET_SETTING, name="again", value="yes")
        except StoreError:
            continue
        return
    pytest.fail("the store did not come back")


@pytest.mark.parametrize("moment", ["idle", "begun", "written"])
def test_a_lost_connection_is_a_store_error_and_the_next_is_made(
    tmp_path: Path, postgres_url: str, moment: str
) -> None:
    async def check() -> None:
        url = await schema_of(postgres_url, tmp_path)
        store = await open_store(url, migrate=True)
        try:
            if moment == "idle":
                await end_connections(url)
            else:
                await lose_inside(store, url, written=moment == "written")
            await served_again(store)
            assert await store.fetch_one(queries.SETTING, name="lost") is None
            await admin.add_user(store, "jeff", now=1)
        finally:
            await store.close()

    asyncio.run(check())


async def lose_inside(store: Store, url: str, *, written: bool) -> None:
    with pytest.raises(StoreError, match="PostgreSQL: "):  # noqa: PT012 - where it is noticed depends on the moment
        async with store.transaction() as transaction:
            if written:
                await transaction.execute(queries.SET_SETTING, name="lost", value="x")
            await end_connections(url)
            if not written:
                await transaction.execute(queries.SET_SETTING, name="lost", value="x")
