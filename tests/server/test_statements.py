"""Every statement of the server is one that PostgreSQL understands, and gives its row the types that it names."""

import asyncio
import importlib
import pkgutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from types import UnionType
from typing import Any, get_args, get_type_hints

import asyncpg
import pytest

from fidoloop.server import store as store_package
from fidoloop.server.store import fido2_queries, limit_queries, oauth_queries, queries, web_queries
from fidoloop.server.store.base import Query, migrations
from fidoloop.server.store.open import migrate_store
from fidoloop.server.store.postgres import postgres_text
from fidoloop.server.store.schema import TABLE

PYTHON_TYPES: dict[str, type] = {"text": str, "int8": int, "bytea": bytes}


def statements() -> Iterator[tuple[str, Query[Any]]]:
    """Give every Query that a module of the store has, by the module and its name."""
    for module in pkgutil.iter_modules(store_package.__path__, f"{store_package.__name__}."):
        found = vars(importlib.import_module(module.name)).items()
        prefix = module.name.rpartition(".")[2]
        for name, value in found:
            if isinstance(value, Query):
                yield f"{prefix}.{name}", value
            elif isinstance(value, tuple):
                yield from (
                    (f"{prefix}.{name}[{at}]", each) for at, each in enumerate(value) if isinstance(each, Query)
                )


ALL = dict(statements())


@dataclass(frozen=True)
class Database:
    """A database with the tables, and the loop of its one connection."""

    runner: asyncio.Runner
    connection: Any


@pytest.fixture(scope="module")
def tables(postgres_url: str) -> Iterator[Database]:
    async def connect() -> Any:  # noqa: ANN401 - asyncpg ships no types
        connection = await asyncpg.connect(postgres_url)
        await connection.execute("CREATE SCHEMA statements")
        await connection.close()
        url = f"{postgres_url}&options=-csearch_path%3Dstatements"
        await migrate_store(url)
        return await asyncpg.connect(url)

    with asyncio.Runner() as runner:
        connection = runner.run(connect())
        yield Database(runner, connection)
        runner.run(connection.close())


def test_no_module_of_statements_is_left_out() -> None:
    for module in (queries, web_queries, oauth_queries, fido2_queries, limit_queries):
        prefix = module.__name__.rpartition(".")[2]
        assert {name for name in ALL if name.startswith(f"{prefix}.")}


@pytest.mark.parametrize("name", ALL)
def test_a_statement_runs_on_postgresql(tables: Database, name: str) -> None:
    query = ALL[name]
    parameters, columns = tables.runner.run(run_once(tables.connection, query))
    assert len(parameters) == len(query.names)
    assert [PYTHON_TYPES[kind] for kind in columns] == row_types(query)


async def run_once(connection: Any, query: Query[Any]) -> tuple[list[str], list[str]]:  # noqa: ANN401
    """Run a statement, undo it, and return the types of its parameters and columns as PostgreSQL has them."""
    prepared = await connection.prepare(postgres_text(query))
    parameters = [each.name for each in prepared.get_parameters()]
    transaction = connection.transaction()
    await transaction.start()
    try:
        # It may name rows that are not there; what it says of them is an answer, too.
        with suppress(asyncpg.ForeignKeyViolationError):
            await prepared.fetch(*[_value(kind, at) for at, kind in enumerate(parameters)])
    finally:
        await transaction.rollback()
    return parameters, [each.type.name for each in prepared.get_attributes()]


def _value(kind: str, at: int) -> object:
    return {"text": f"x{at}", "int8": 1, "bytea": b"x"}[kind]


def row_types(query: Query[Any]) -> list[type]:
    """Return the type of each column, None left out, as the row's struct has them."""
    return [only_type(hint) for hint in get_type_hints(query.row).values()]


def only_type(hint: Any) -> type:  # noqa: ANN401 - any annotation
    if isinstance(hint, UnionType):
        (hint,) = [each for each in get_args(hint) if each is not type(None)]
    return hint if isinstance(hint, type) else type(get_args(hint)[0])


WHOLE_TABLES = {
    "fido2_queries.CREDENTIALS": "for operators",
    "fido2_queries.FAIL_OPEN": "after a restore",
    "fido2_queries.PURGE_SESSIONS": "the sweep",
    "lab_queries.NEWEST_SESSIONS": "the lab console",
    "oauth_queries.CLIENTS": "for operators",
    **{f"oauth_queries.FORGET_UNUSED[{at}]": "after a restore" for at in range(len(oauth_queries.FORGET_UNUSED))},
    "queries.ACCOUNTS": "for operators",
    "queries.API_KEYS": "for operators",
    "queries.AUDIT": "for operators",
    "queries.AUDIT_OF_SESSIONS": "for operators",
    "queries.CREDENTIALS": "for operators",
    "queries.FAIL_OPEN": "after a restore",
    "queries.PURGE_REQUEST_IDS": "the sweep",
    "queries.TARGETS": "for operators",
    "web_queries.PURGE[1]": "the sweep",
    "web_queries.PURGE_EXPIRED[0]": "the sweep",
    "web_queries.PURGE_EXPIRED[1]": "the sweep",
}


def test_no_request_reads_a_whole_table() -> None:
    """As SQLite plans it, which has the same indexes."""
    connection = sqlite3.connect(":memory:")
    for statement in chain([TABLE], *(statements for _, statements in migrations())):
        connection.execute(statement)

    def scans(query: Query[Any]) -> bool:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {query.numbered}", [None] * len(query.names))
        return any(step.startswith("SCAN") and "CONSTANT ROW" not in step for *_, step in plan)

    small = {name for name in ALL if name.endswith(".APPLIED")}
    assert {name for name, query in ALL.items() if scans(query)} - small == set(WHOLE_TABLES)
    connection.close()


def test_what_reads_a_whole_table_may_take_its_time_unless_a_request_waits_for_it() -> None:
    assert {name: ALL[name].patient for name in WHOLE_TABLES} == {
        name: why != "the lab console" for name, why in WHOLE_TABLES.items()
    }
