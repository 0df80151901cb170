"""credentials-1M: latency of a log-in at a server that has a million credentials, against one with a thousand.

On each store. Phones log in one at a time, at the one server and at the other in turns: each phone first when its key
was not read since the server started, and then some times more.
"""

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import asyncpg

from bench.crowd import APP_ID, Home, make_home, run_quickly
from bench.databases import STORES, postgres_databases
from bench.measure import Row
from bench.processes import serving
from fidoloop.bridge.load.connection import Client, Endpoint
from fidoloop.bridge.load.flows import log_in_by_uaf
from fidoloop.bridge.load.generator import Generator
from fidoloop.bridge.load.services import Services, ask

MANY, FEW = 1_000_000, 1_000
PHONES = 256
ROUNDS = 4
LIMIT = 1.2
_COLUMNS = (
    "aaid, app_id, username, public_key_format, signature_algorithm, authenticator_version, sign_counter, "
    "registration_counter, attestation_type, created_at, key_id, public_key"
)
_VALUES = f"'FFFF#0001', '{APP_ID}', 'filler-' || value, 256, 1, 1, 0, 1, 15880, 0"
_ADD_ACCOUNTS = "INSERT INTO account (username, created_at) SELECT 'filler-' || value, 0 FROM {numbers}"
_ADD_CREDENTIALS = (
    f"INSERT INTO credential ({_COLUMNS}) SELECT {_VALUES}, {{key_id}}, {{public_key}} FROM {{numbers}} ORDER BY 11"  # noqa: S608
)


def run() -> list[Row]:
    """Measure on both stores."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, ExitStack() as opened:
        places = [Path(name) / size for size in ("many", "few")]
        urls = opened.enter_context(postgres_databases(places))
        rows = []
        for store in STORES:
            homes = [
                make_home(place / store, PHONES, database=url if store == "postgresql" else None)
                for place, url in zip(places, urls, strict=True)
            ]
            loads = run_quickly(_prepared(homes, urls if store == "postgresql" else None))
            rows += run_quickly(_measure(f"credentials-1M-{store}", homes, loads))
        return rows


async def _prepared(homes: Sequence[Home], urls: Sequence[str] | None) -> list[Generator]:
    loads = []
    for number, (home, count) in enumerate(zip(homes, (MANY, FEW), strict=True)):
        with serving(home.directory) as server:
            loads.append(await home.enrolled(server.port))
        if urls is None:
            _fill_sqlite(home.directory / "server.sqlite", count - PHONES)
        else:
            await _fill_postgres(urls[number], count - PHONES)
    return loads


def _fill_sqlite(path: Path, count: int) -> None:
    each = f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT {count}) SELECT value FROM n"  # noqa: S608
    numbers = f"({each})"
    # As long as real ones: a KeyID of 32 bytes in base64url, a P-256 key.
    made = {"key_id": "substr(hex(randomblob(22)), 1, 43)", "public_key": "randomblob(65)"}
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -400000")
        with database:
            database.execute(_ADD_ACCOUNTS.format(numbers=numbers))
            database.execute(_ADD_CREDENTIALS.format(numbers=numbers, **made))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _fill_postgres(url: str, count: int) -> None:
    numbers = f"generate_series(1, {count}) AS value"
    made = {
        "key_id": "substr(md5(random()::text) || md5(random()::text), 1, 43)",
        "public_key": "decode(repeat(md5(random()::text), 4) || '04', 'hex')",
    }
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_ADD_ACCOUNTS.format(numbers=numbers))
        await connection.execute(_ADD_CREDENTIALS.format(numbers=numbers, **made))
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def _measure(name: str, homes: Sequence[Home], loads: Sequence[Generator]) -> list[Row]:
    with ExitStack() as opened:
        sides = []
        for home, load in zip(homes, loads, strict=True):
            endpoint = Endpoint.loopback(opened.enter_context(serving(home.directory)).port)
            log_in, call = log_in_by_uaf(Services(endpoint.authority)), partial(ask, Client(endpoint))
            sides.append([partial(log_in, call, account) for account in load.accounts])
        pairs = list(zip(*sides, strict=True))
        rounds = [await _round(pairs) for _ in range(ROUNDS)]
    many, few = ([spent for turn in rounds[1:] for spent in turn[side]] for side in range(2))
    return [*_rows(name, many, few), *_rows(f"{name}: keys not read before", *rounds[0])]


async def _round(pairs: Sequence[Sequence[Callable[[], Awaitable[str]]]]) -> tuple[list[float], list[float]]:
    """Return how many milliseconds each log-in of a round took, at either server."""
    spent: tuple[list[float], list[float]] = [], []
    for number, pair in enumerate(pairs):
        # Neither is always the first.
        for side in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            await pair[side]()
            spent[side].append((time.perf_counter() - started) * 1000)
    return spent


def _rows(name: str, many: Sequence[float], few: Sequence[float]) -> list[Row]:
    ratio = statistics.median(many) / statistics.median(few)
    return [
        Row(name, round(statistics.median(many), 2), "ms, median", round(statistics.median(few), 2)),
        Row(f"{name}: against 1,000", round(ratio, 3), "x", limit=LIMIT),
    ]
