"""How things are measured: floor and subject take turns, so that what disturbs one disturbs the other."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

ROUNDS = 15


@dataclass(frozen=True)
class Row:
    """One figure; `floor` is what it is held against and `ratio` = value / floor, None where there is no floor.

    The ratio is `wanted` or more, the value itself at most `limit`, where the project holds itself to either. No value:
    it was not measured, and `unit` says why.
    """

    name: str
    value: float | None
    unit: str
    floor: float | None = None
    ratio: float | None = None
    wanted: float | None = None
    limit: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as build/bench.json has it."""
        return asdict(self) | {"result": self.result}

    @property
    def result(self) -> str:
        """ "reached" or "missed" where something is wanted, "" where nothing is or nothing was measured."""
        if self.value is None or (self.wanted is None and self.limit is None):
            return ""
        return "reached" if self.met else "missed"

    @property
    def met(self) -> bool:
        """Whether ratio and value are what the project holds itself to."""
        high_enough = self.wanted is None or (self.ratio is not None and self.ratio >= self.wanted)
        return self.value is None or (high_enough and (self.limit is None or self.value <= self.limit))


def milliseconds(name: str, spent: list[float]) -> list[Row]:
    """Return the rows of the median and the 99th percentile of durations in milliseconds."""
    return [
        Row(name, round(statistics.median(spent), 1), "ms, median"),
        Row(f"{name}-p99", round(statistics.quantiles(spent, n=100)[98], 1), "ms, 99th percentile"),
    ]


def rate(work: Callable[[], object], seconds: float) -> float:
    """Return how often a second `work` runs, over about `seconds`."""
    count = 0
    started = time.perf_counter()
    deadline = started + seconds
    now = started
    while now < deadline:
        for _ in range(20):
            work()
        count += 20
        now = time.perf_counter()
    return count / (now - started)


async def rate_of(work: list[Callable[[], Awaitable[object]]], seconds: float) -> float:
    """Return how often a second the workers, one a connection, get round together."""
    started = time.perf_counter()
    deadline = started + seconds

    async def loop(once: Callable[[], Awaitable[object]]) -> int:
        count = 0
        while time.perf_counter() < deadline:
            await once()
            count += 1
        return count

    counts = await asyncio.gather(*(loop(once) for once in work))
    return sum(counts) / (time.perf_counter() - started)


def side_by_side(
    name: str,
    subject: Callable[[], object],
    floor: Callable[[], object],
    *,
    wanted: float | None = None,
    seconds: float = 0.2,
) -> Row:
    """Return the medians of both rates and of the ratio, turn by turn."""
    rate(subject, seconds)
    rate(floor, seconds)
    pairs = [(rate(subject, seconds), rate(floor, seconds)) for _ in range(ROUNDS)]
    return row_of(name, pairs, wanted=wanted)


def row_of(name: str, pairs: list[tuple[float, float]], *, wanted: float | None) -> Row:
    """Return the row of (value, floor) pairs measured turn by turn, in operations per second."""
    return Row(
        name,
        round(statistics.median(value for value, _ in pairs), 1),
        "1/s",
        round(statistics.median(floor for _, floor in pairs), 1),
        round(statistics.median(value / floor for value, floor in pairs), 3),
        wanted,
    )
