"""log-in-statements, log-in-commits: what a log-in asks of PostgreSQL, counted at the driver as its test does."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from bench.databases import postgres_databases
from bench.measure import Row
from tests.server.test_statements_per_log_in import (
    MOST_COMMITS,
    MOST_STATEMENTS,
    Counted,
    count_statements,
    log_in,
    logged_in_before,
)


def run() -> list[Row]:
    """Count a log-in of which one worker gets both requests, and one of which two workers get one each."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, pytest.MonkeyPatch.context() as patch:
        home = Path(name)
        with postgres_databases([home]) as (url,):
            counted = count_statements(patch)
            return [
                row
                for remembered, workers in ((True, "one worker"), (False, "two workers"))
                for row in asyncio.run(_count(home / workers.replace(" ", "-"), url, counted, workers, remembered))
            ]


async def _count(home: Path, url: str, counted: Counted, workers: str, remembered: bool) -> list[Row]:
    home.mkdir()
    async with logged_in_before(home, url) as (bench, phone):
        counted.seen.clear()
        await log_in(bench, phone, remembered=remembered)
        statements, commits = len(counted.statements()), counted.commits()
    return [
        Row(f"log-in-statements: {workers}", statements, "a log-in", limit=MOST_STATEMENTS),
        Row(f"log-in-commits: {workers}", commits, "a log-in", limit=MOST_COMMITS),
    ]
