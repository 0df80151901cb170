"""The store as everything above sees it: transactions over typed queries, on any database."""

import re
from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import InitVar, dataclass, field
from importlib import resources
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from fidoloop.server.store.rows import Nothing

Row = TypeVar("Row")
Value = str | int | bytes | None
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


@dataclass(frozen=True, eq=False, slots=True)
class Query(Generic[Row]):
    """One SQL statement with `:name` parameters and the struct its rows become, columns in the struct's order.

    `numbered` is the statement with ?1, ?2, … in their place, which bind faster, `names` what the numbers stand for.
    One that is `patient` goes through a whole table, and no phone and no laptop waits for it: it may take minutes.
    """

    sql: InitVar[str]
    row: type[Row]
    patient: bool = False
    numbered: str = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self, sql: str) -> None:
        """Number the parameters."""
        names = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "numbered", _PARAMETER.sub(lambda match: f"?{names.index(match.group(1)) + 1}", sql))


class Change(NamedTuple):
    """A statement that must change so many `rows` and returns none, and what its parameters stand for."""

    query: Query[Nothing]
    parameters: dict[str, Value]
    rows: int = 1


class Statements(Protocol):
    """What runs statements: an open transaction, or the store itself, where each is a transaction of its own.

    A text with U+0000, which PostgreSQL does not take, is a MalformedError there.
    """

    async def fetch_one(self, query: Query[Row], **parameters: Value) -> Row | None:
        """Return the first row, or None. Raises ConflictError."""
        ...

    async def fetch_all(self, query: Query[Row], **parameters: Value) -> list[Row]:
        """Return all rows."""
        ...

    async def execute(self, query: Query[Any], **parameters: Value) -> int:
        """Run a statement and return how many rows it changed. Raises ConflictError."""
        ...


class Transaction(Statements, Protocol):
    """One open transaction. Left by an exception it is rolled back as a whole."""

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Return a context whose changes are undone if it is left by an exception (which passes through)."""
        ...


class Store(Statements, Protocol):
    """A database. Its transactions are isolated from each other, in this process and in others.

    A statement that both writes and returns rows needs a transaction.
    """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction that writes: committed at the end, rolled back on an exception."""
        ...

    def apply(self, changes: Sequence[Change]) -> Awaitable[bool]:
        """Make all `changes` in one transaction, or none where one of them would not change its number of rows.

        What a caller knows beforehand needs no transaction that it holds open. Raises ConflictError.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def migrations() -> list[tuple[int, list[str]]]:
    """Return the numbered migrations in order, each as its statements."""
    found = []
    for entry in sorted(resources.files(__package__).joinpath("migrations").iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".sql"):
            lines = [line for line in entry.read_text("utf-8").splitlines() if not line.startswith("--")]
            statements = [part.strip() for part in "\n".join(lines).split(";\n")]
            found.append((int(entry.name[:4]), [part.rstrip(";") for part in statements if part]))
    return found
