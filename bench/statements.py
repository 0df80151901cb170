"""log-in-statements, log-in-commits: what a log-in asks of PostgreSQL, counted at the driver as its test does."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.databases import postgres_databases
from bench.measure import Row
from tests.server.test_statements_per_log_in import (
    MOST_COMMITS,
    MOST_STATEMENTS,
    Counted,
    count_statements,
    log_in,
    log_in_by_qr_code,
    logged_in_before,
)


class Case(NamedTuple):
    """A way to log in, whether one worker gets all its requests, and the most commits that the project wants."""

    log_in: Callable[..., Awaitable[None]]
    one_worker: bool
    commits: int | None = MOST_COMMITS
    statements: int | None = MOST_STATEMENTS


CASES = {
    "one worker": Case(log_in, one_worker=True),
    "two workers": Case(log_in, one_worker=False),
    # Of its four requests three write, each for itself.
    "by QR code, one worker": Case(log_in_by_qr_code, one_worker=True, commits=None),
    "by QR code, each request to another": Case(log_in_by_qr_code, one_worker=False, commits=None, statements=None),
}


def run() -> list[Row]:
    """Count log-ins of a user who has logged in before."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, pytest.MonkeyPatch.context() as patch:
        home = Path(name)
        with postgres_databases([home]) as (url,):
            counted = count_statements(patch)
            rows = []
            for number, (workers, case) in enumerate(CASES.items()):
                rows += asyncio.run(_count(home / str(number), url, counted, workers, case))
            return rows


async def _count(home: Path, url: str, counted: Counted, workers: str, case: Case) -> list[Row]:
    home.mkdir()
    async with logged_in_before(home, url) as (bench, phone):
        await case.log_in(bench, phone)
        counted.seen.clear()
        await case.log_in(bench, phone, remembered=case.one_worker)
        statements, commits = len(counted.statements()), counted.commits()
    return [
        Row(f"log-in-statements: {workers}", statements, "a log-in", limit=case.statements),
        Row(f"log-in-commits: {workers}", commits, "a log-in", limit=case.commits),
    ]
