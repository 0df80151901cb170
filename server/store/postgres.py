"""The store on PostgreSQL, through asyncpg."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from typing import Any, TypeVar

import asyncpg

from fidoloop.protocol.errors import MalformedError
from fidoloop.server.errors import ConflictError, StoreError
from fidoloop.server.store.base import Change, Query, Row, Value
from fidoloop.server.store.schema import APPLIED, TABLE, missing, refuse_old

MIGRATION_LOCK = 0xF1D0
POOL_SIZE = 8
CACHED_STATEMENTS = 512
ACQUIRE_SECONDS = 5.0
"""So long is waited for a connection, one that is free or a new one."""
MOST_SECONDS = 10.0
"""A statement that takes longer has failed: the database hangs, or the network to it is cut."""
PATIENT_SECONDS = 600.0
"""The same for statements that go through whole tables, see `Query.patient`."""
UNDO_SECONDS = 1.0
"""After a failure: so long for the rollback, and for the connection to be fit for use again; then it is closed.

At the end as long for all connections to be closed in good order."""
_CANNOT_CONNECT = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)
# The last is what the driver says where a connection breaks between two of its steps.
FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
T = TypeVar("T")
_DIALECT = ((re.compile(r"\bBLOB\b"), "BYTEA"), (re.compile(r" WITHOUT ROWID$"), ""))


def postgres_text(query: Query[Any]) -> str:
    """Return a statement with its parameters as PostgreSQL numbers them."""
    return _translated_query(query.numbered)


@lru_cache(maxsize=512)
def _translated_query(numbered: str) -> str:
    return re.sub(r"\?(\d)", r"$\1", numbered)


class PostgresStore:
    """A Store in a PostgreSQL database."""

    def __init__(self, pool: Any) -> None:  # noqa: ANN401 - asyncpg ships no types
        self._pool = pool

    @classmethod
    async def open(cls, url: str, *, migrate: bool) -> "PostgresStore":
        """Connect; bring the tables up to date if `migrate`, and otherwise see that they are. Raises StoreError."""
        if migrate:
            await migrate_postgres(url)
        try:
            pool = await asyncpg.create_pool(
                url,
                # One at first, to see that it can be had; the driver's own attempts to keep one would fill the log.
                init_size=1,
                min_size=0,
                max_size=POOL_SIZE,
                timeout=ACQUIRE_SECONDS,
                statement_cache_size=CACHED_STATEMENTS,
                command_timeout=MOST_SECONDS,
                reset=_leave_as_it_is,
            )
        except _CANNOT_CONNECT as error:
            raise StoreError(f"PostgreSQL: cannot connect: {_reason(error)}") from None
        store = cls(pool)
        try:
            if not migrate:
                async with pool.acquire() as connection:
                    refuse_old(await _applied(connection))
        except (OSError, asyncpg.PostgresError) as error:
            await store.close()
            raise StoreError(f"PostgreSQL: its tables cannot be read: {_reason(error)}") from None
        except StoreError as error:
            await store.close()
            raise StoreError(f"PostgreSQL: {error}") from None
        return store

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["_PostgresTransaction"]:
        """Begin a transaction; see Store. Raises StoreError where the database does not take or commit it."""
        connection = await self._take()
        try:
            transaction = connection.transaction()
            await _told(transaction.start)
            try:
                yield _PostgresTransaction(connection)
            except BaseException:
                # A connection that is gone has undone everything; what is wrong is said already.
                with suppress(*FAILURES):
                    await _undo(transaction)
                raise
            await _told(transaction.commit)
        except BaseException:
            await self._give_back(connection, seconds=UNDO_SECONDS)
            raise
        await self._give_back(connection)

    async def fetch_one(self, query: Query[Row], **parameters: Value) -> Row | None:
        """Return the first row of a reading statement; see Store."""
        return await self._alone(lambda statements: statements.fetch_one(query, **parameters))

    async def fetch_all(self, query: Query[Row], **parameters: Value) -> list[Row]:
        """Return all rows of a reading statement; see Store."""
        return await self._alone(lambda statements: statements.fetch_all(query, **parameters))

    async def execute(self, query: Query[Any], **parameters: Value) -> int:
        """Run a single writing statement; see Store."""
        return await self._alone(lambda statements: statements.execute(query, **parameters))

    async def _alone(self, run: Callable[["_PostgresTransaction"], Awaitable[T]]) -> T:
        """Run one statement, which is a transaction of its own."""
        connection = await self._take()
        try:
            done = await run(_PostgresTransaction(connection))
        except BaseException:
            await self._give_back(connection, seconds=UNDO_SECONDS)
            raise
        await self._give_back(connection)
        return done

    async def _take(self) -> Any:  # noqa: ANN401 - asyncpg ships no types
        """Take a connection out of the pool. Raises StoreError where there is none in time."""
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                return await self._pool.acquire()
        except FAILURES as error:
            raise StoreError(f"PostgreSQL: {type(error).__name__}") from None

    async def _give_back(self, connection: Any, *, seconds: float | None = None) -> None:  # noqa: ANN401
        """Give a connection back; where its statement was given up, the database has `seconds` to agree."""
        with suppress(*FAILURES):
            await self._pool.release(connection, timeout=seconds)

    async def apply(self, changes: Sequence[Change]) -> bool:
        """Make all changes or none; see Store."""
        if len(changes) == 1 and changes[0].rows == 1:
            return await self.execute(changes[0].query, **changes[0].parameters) == 1
        try:
            async with self.transaction() as transaction:
                for query, parameters, rows in changes:
                    if await transaction.execute(query, **parameters) != rows:
                        raise _UnappliedError
        except _UnappliedError:
            return False
        return True

    async def close(self) -> None:
        """Close all connections, by force those that the database does not let go."""
        with suppress(*FAILURES):
            async with asyncio.timeout(UNDO_SECONDS):
                await self._pool.close()


async def _told(step: Callable[[], Awaitable[T]]) -> T:
    """Take a step of the driver's. Raises StoreError."""
    try:
        return await step()
    except FAILURES as error:
        raise StoreError(f"PostgreSQL: {type(error).__name__}") from None


async def _undo(transaction: Any) -> None:  # noqa: ANN401 - asyncpg ships no types
    async with asyncio.timeout(UNDO_SECONDS):
        await transaction.rollback()


async def _leave_as_it_is(_: object) -> None:
    """Spare a connection that goes back to the pool a round trip: nothing here outlives its transaction."""


def _reason(error: Exception) -> str:
    """Return what the database or the network says before there is anything of a user's to tell; never the URL."""
    if isinstance(error, OSError | asyncpg.PostgresError):
        return str(error) or type(error).__name__
    return f"the URL or what it names cannot be used ({type(error).__name__})"


class _UnappliedError(Exception):
    pass


class _PostgresTransaction:
    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - asyncpg ships no types
        self._connection = connection

    async def fetch_one(self, query: Query[Row], **parameters: Value) -> Row | None:
        found = await self._run(self._connection.fetchrow, query, parameters)
        return None if found is None else query.row(*found.values())

    async def fetch_all(self, query: Query[Row], **parameters: Value) -> list[Row]:
        return [query.row(*found.values()) for found in await self._run(self._connection.fetch, query, parameters)]

    async def execute(self, query: Query[Any], **parameters: Value) -> int:
        status: str = await self._run(self._connection.execute, query, parameters)
        count = status.rpartition(" ")[2]
        # None is given for what is no change of rows, such as of a table.
        return int(count) if count.isdecimal() else 0

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        point = self._connection.transaction()
        await _told(point.start)
        try:
            yield
        except BaseException:
            await _told(partial(_undo, point))
            raise
        await _told(point.commit)

    async def _run(self, method: Any, query: Query[Any], parameters: dict[str, Value]) -> Any:  # noqa: ANN401
        try:
            return await method(
                _translated_query(query.numbered),
                *[parameters[name] for name in query.names],
                timeout=PATIENT_SECONDS if query.patient else None,
            )
        except asyncpg.IntegrityConstraintViolationError:
            # The driver's own text holds the values.
            raise ConflictError("a row of this name exists already") from None
        except asyncpg.CharacterNotInRepertoireError:
            # No row holds such a text, and none can.
            raise MalformedError("a text", "it holds the character U+0000") from None
        except FAILURES as error:
            raise StoreError(f"PostgreSQL: {type(error).__name__}") from None


async def migrate_postgres(url: str) -> list[int]:
    """Bring the tables up to date, and return the numbers of the migrations that it took.

    All are applied or none, and by one of any number of processes that do so at once.

    Raises:
        StoreError: it cannot be connected to or changed, or is newer than this version.
    """
    try:
        connection = await asyncpg.connect(url)
    except _CANNOT_CONNECT as error:
        raise StoreError(f"PostgreSQL: cannot connect: {_reason(error)}") from None
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            return await _migrate(connection)
    except (OSError, asyncpg.PostgresError) as error:
        raise StoreError(f"PostgreSQL: its tables cannot be brought up to date: {_reason(error)}") from None
    except StoreError as error:
        raise StoreError(f"PostgreSQL: {error}") from None
    finally:
        await connection.close()


async def _applied(connection: Any) -> set[int]:  # noqa: ANN401 - asyncpg ships no types
    try:
        return {row["number"] for row in await connection.fetch(APPLIED.numbered)}
    except asyncpg.UndefinedTableError:
        return set()


async def _migrate(connection: Any) -> list[int]:  # noqa: ANN401 - asyncpg ships no types
    await connection.execute(TABLE)
    lacking = missing(await _applied(connection))
    for number, statements in lacking:
        for statement in statements:
            await connection.execute(_translated(statement))
        await connection.execute("INSERT INTO schema_migration VALUES ($1, $2)", number, time.time_ns() // 1_000_000)
    return [number for number, _ in lacking]


def _translated(statement: str) -> str:
    for pattern, replacement in _DIALECT:
        statement = pattern.sub(replacement, statement)
    return statement
