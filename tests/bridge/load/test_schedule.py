"""When log-ins begin: closed loop, open loop, count, stop."""

import asyncio
from time import perf_counter

import pytest

from fidoloop.bridge.load.schedule import Limits, Schedule, shares


async def drained(limits: Limits, stop: asyncio.Event) -> list[float]:
    schedule, given = Schedule(limits, stop), []
    while (counted_from := await schedule.next()) is not None:
        given.append(counted_from)
    return given


def test_a_count_ends_it() -> None:
    assert len(asyncio.run(drained(Limits(seconds=None, count=7), asyncio.Event()))) == 7


def test_a_rate_begins_so_many_and_no_more() -> None:
    assert len(asyncio.run(drained(Limits(seconds=0.25, rate=40.0), asyncio.Event()))) == 10


def test_none_begins_before_it_is_due() -> None:
    async def check() -> None:
        schedule, started = Schedule(Limits(seconds=None, count=5, rate=50.0), asyncio.Event()), perf_counter()
        for number in range(5):
            assert await schedule.next() is not None
            assert perf_counter() - started >= number / 50

    asyncio.run(check())


def test_one_that_had_to_wait_for_a_connection_counts_from_when_it_was_due() -> None:
    async def check() -> None:
        schedule, started = Schedule(Limits(seconds=None, count=4, rate=100.0), asyncio.Event()), perf_counter()
        await asyncio.sleep(0.1)
        counted_from = [await schedule.next() for _ in range(4)]
        for number, moment in enumerate(counted_from):
            assert moment is not None
            assert moment - started == pytest.approx(number / 100, abs=0.005)

    asyncio.run(check())


def test_those_due_that_never_began_are_counted() -> None:
    async def check() -> None:
        schedule = Schedule(Limits(seconds=0.1, rate=100.0), asyncio.Event())
        assert await schedule.next() is not None
        await asyncio.sleep(0.12)
        assert await schedule.next() is None
        assert schedule.unbegun == 9

    asyncio.run(check())


@pytest.mark.parametrize("rate", [None, 0.01], ids=["closed", "open"])
def test_a_stop_is_heard_also_by_who_waits(rate: float | None) -> None:
    async def check() -> None:
        stop = asyncio.Event()
        schedule = Schedule(Limits(seconds=None, rate=rate, offset=0.0 if rate is None else 3600.0), stop)
        waiting = asyncio.create_task(schedule.next())
        await asyncio.sleep(0)
        stop.set()
        async with asyncio.timeout(60):
            given = await waiting
        assert (given is None) == (rate is not None)
        assert await schedule.next() is None

    asyncio.run(check())


@pytest.mark.parametrize(("total", "parts"), [(10, 3), (3, 3), (2, 3), (0, 2)])
def test_shares_add_up(total: int, parts: int) -> None:
    found = list(shares(total, parts))
    assert sum(found) == total
    assert max(found) - min(found) <= 1
