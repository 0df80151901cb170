"""workers-2: what two worker processes serve against one, on each store.

Both servers run all the time and are asked in turns. On a machine of two cores the phones take time from the second
worker, so that the ratio by the clock says little. What counts is processor time: two workers can serve twice the
log-ins of one, divided by how much more time each takes when there are two. That holds as long as nobody waits for the
other: then the processors would be idle, and the rows say how idle they were.
"""

import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.crowd import Home, make_home, run_quickly
from bench.databases import STORES, postgres_databases
from bench.measure import Row
from bench.processes import Serving, family_cpu_seconds, idle_seconds, serving
from fidoloop.bridge.load.generator import Generator
from fidoloop.bridge.load.schedule import Limits

CONNECTIONS = 32
TURNS = 15
SECONDS = 1.0
WANTED = 1.6


class Turn(NamedTuple):
    """Log-ins a second; processor seconds a log-in of the server; the share of the processors that was idle."""

    rate: float
    cost: float
    idle: float


def run() -> list[Row]:
    """Measure on both stores."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name, ExitStack() as opened:
        (url,) = opened.enter_context(postgres_databases([Path(name)]))
        rows = []
        for store in STORES:
            database = url if store == "postgresql" else None
            home = make_home(Path(name) / store, 2 * CONNECTIONS, database=database)
            rows += run_quickly(_measure(store, home))
        return rows


async def _measure(store: str, home: Home) -> list[Row]:
    with serving(home.directory) as one:
        enrolled = await home.enrolled(one.port)
        with serving(home.directory, workers=2) as two:
            loads = []
            for number, server in enumerate((one, two)):
                load = home.generator(server.port)
                # Each half of the phones stays with one server: a counter that two know goes back for one of them.
                load.accounts = enrolled.accounts[number::2]
                await _turn(load, server)
                loads.append((load, server))
            turns = [tuple([await _turn(load, server) for load, server in loads]) for _ in range(TURNS)]
    by_clock = [second.rate / first.rate for first, second in turns]
    by_cpu = [2 * first.cost / second.cost for first, second in turns]
    ones, twos = zip(*turns, strict=True)
    name = f"workers-2-{store}"
    return [
        Row(
            f"{name}: by server CPU",
            round(statistics.median(2 / turn.cost for turn in twos), 1),
            "1/s",
            round(statistics.median(1 / turn.cost for turn in ones), 1),
            round(statistics.median(by_cpu), 3),
            WANTED,
        ),
        Row(
            f"{name}: by the clock",
            round(statistics.median(turn.rate for turn in twos), 1),
            "1/s",
            round(statistics.median(turn.rate for turn in ones), 1),
            round(statistics.median(by_clock), 3),
        ),
        Row(
            f"{name}: idle, one worker", round(100 * statistics.median(turn.idle for turn in ones), 1), "% of the cores"
        ),
        Row(
            f"{name}: idle, two workers",
            round(100 * statistics.median(turn.idle for turn in twos), 1),
            "% of the cores",
        ),
    ]


async def _turn(load: Generator, server: Serving) -> Turn:
    cpu, idle, started = family_cpu_seconds(server.pid), idle_seconds(), time.perf_counter()
    tally = await load.run(Limits(seconds=SECONDS), connections=CONNECTIONS)
    elapsed = time.perf_counter() - started
    if tally.errors:
        raise RuntimeError(str(tally.details))
    done = tally.latencies.count
    spent = family_cpu_seconds(server.pid) - cpu
    return Turn(done / elapsed, spent / done, (idle_seconds() - idle) / elapsed / (os.cpu_count() or 1))
