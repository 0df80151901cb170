"""Which migrations a database has, and which it must have: numbered, applied in order, never taken back."""

from collections.abc import Collection
from typing import NamedTuple

from fidoloop.server.errors import StoreError
from fidoloop.server.store.base import Query, Statements, migrations
from fidoloop.server.store.rows import Count

TABLE = "CREATE TABLE IF NOT EXISTS schema_migration (number BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)"
APPLIED = Query("SELECT number FROM schema_migration ORDER BY number", Count)


class Migration(NamedTuple):
    """One step, as its statements."""

    number: int
    statements: list[str]


def missing(applied: Collection[int]) -> list[Migration]:
    """Return the migrations that a database with those `applied` needs.

    Raises:
        StoreError: it has one that this version does not know.
    """
    known = migrations()
    newest = known[-1][0]
    if max(applied, default=0) > newest:
        raise StoreError(
            f"the database is newer (migration {max(applied)}) than this version of fidoloop, which knows {newest}:"
            " run a version at least as new as the one that brought it there"
        )
    return [Migration(number, statements) for number, statements in known if number not in applied]


def refuse_old(applied: Collection[int]) -> None:
    """Refuse a database that is not at this version's migration. Raises StoreError, which says what to do."""
    lacking = missing(applied)
    if lacking:
        what = f"is at migration {max(applied)}" if applied else "has no tables of fidoloop yet"
        raise StoreError(
            f"the database {what}, this version of fidoloop needs {lacking[-1].number}: run `fidoloop server migrate`,"
            " or set migrate = true to have that done at each start"
        )


async def is_current(statements: Statements) -> bool:
    """Tell whether the database has just the migrations that this version knows. Raises StoreError."""
    applied = [row.rows for row in await statements.fetch_all(APPLIED)]
    return applied == [number for number, _ in migrations()]
