"""Token buckets in the store: one limit over two workers, on SQLite and on PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fidoloop.server import rate_limits
from fidoloop.server.config import ServerConfig
from fidoloop.server.errors import SettingError
from fidoloop.server.rate_limits import MOST_HELD, Bucket, TooManyError
from fidoloop.server.settings.rate_limits import RateLimitSettings
from fidoloop.server.store.base import Query
from fidoloop.server.store.open import migrate_store, open_store
from fidoloop.server.store.rows import Count
from tests.server.harness import BASE, Clock
from tests.server.process import started
from tests.server.test_workers import clients_of, made_home

FAR = "198.51.100.7"


@asynccontextmanager
async def buckets(
    database: str, most: int, *, clock: Clock, seconds: int = 60, processes: int = 2, workers: int = 2
) -> AsyncIterator[list[Bucket]]:
    """The same limit as `processes` have it, each with a store of its own."""
    await migrate_store(database)
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(processes):
            store = await open_store(database)
            stack.push_async_callback(store.close)
            found.append(Bucket("test", most, seconds, "too many", workers, store, clock))
        yield found


async def granted(asked: list[Bucket], tries: int, whose: str = FAR) -> int:
    """Ask each bucket in turn, `tries` times in all; return how often the answer was yes."""
    done = 0
    for bucket in islice(cycle(asked), tries):
        try:
            await bucket.spend(whose)
        except TooManyError:
            continue
        done += 1
    return done


@pytest.mark.parametrize("most", [1, 5, 7])
def test_a_small_limit_is_exact_over_two_workers(database: str, most: int) -> None:
    async def check() -> None:
        clock = Clock()
        async with buckets(database, most, clock=clock) as both:
            assert await granted(both, 3 * most) == most
            assert await granted(both, 3, "another") == min(3, most)
            clock.advance(60 / most + 0.001)
            assert await granted(both, 3 * most) == 1
            clock.advance(3600)
            assert await granted(both, 3 * most) == most

    asyncio.run(check())


@pytest.mark.parametrize(("processes", "at_most"), [(2, 640 + 10), (4, 640 + 80 + 20)])
def test_a_large_limit_holds_within_what_is_documented(database: str, processes: int, at_most: int) -> None:
    """Two workers of one node within 1/64; a second node on the same store adds an eighth."""

    async def check() -> None:
        clock = Clock()
        async with buckets(database, 640, clock=clock, processes=processes) as all_of_them:
            assert 640 - 20 <= await granted(all_of_them, 2000) <= at_most
            clock.advance(30)
            assert 320 - 20 <= await granted(all_of_them, 2000) <= at_most / 2 + 10

    asyncio.run(check())


def test_one_worker_alone_gets_all_but_what_others_may_pass_by_themselves(database: str) -> None:
    async def check() -> None:
        async with buckets(database, 640, clock=Clock(), processes=1) as alone:
            assert await granted(alone, 2000) == 640 - 640 // 16

    asyncio.run(check())


def test_racers_share_one_bucket(database: str) -> None:
    async def check() -> None:
        async with buckets(database, 5, clock=Clock()) as both:
            outcomes = await asyncio.gather(*(bucket.spend(FAR) for bucket in both * 10), return_exceptions=True)
            assert Counter(type(outcome) for outcome in outcomes) == {type(None): 5, TooManyError: 15}

    asyncio.run(check())


def test_the_refusal_says_when_to_come_again(database: str) -> None:
    async def check() -> None:
        clock = Clock()
        async with buckets(database, 2, clock=clock) as both:
            assert await granted(both, 2) == 2
            for bucket in both:
                with pytest.raises(TooManyError) as refused:
                    await bucket.spend(FAR)
                assert refused.value.retry_after == 30
            clock.advance(29)
            with pytest.raises(TooManyError, match="try again in 1 s"):
                await both[0].spend(FAR)
            clock.advance(1)
            await both[1].spend(FAR)

    asyncio.run(check())


def test_a_clock_that_went_back_shuts_nobody_out(database: str) -> None:
    async def check() -> None:
        clock = Clock()
        async with buckets(database, 16, clock=clock) as both:
            clock.advance(7200)
            assert await granted(both, 64) >= 16
            clock.advance(-7200)
            assert all(bucket.passes(FAR) for bucket in both), "its own part without asking, too"
            assert await granted(both, 64) >= 12

    asyncio.run(check())


def test_buckets_that_are_full_again_are_swept(database: str) -> None:
    async def check() -> None:
        clock = Clock()
        async with buckets(database, 2, clock=clock) as (bucket, _):
            rows = Query("SELECT COUNT(*) FROM rate_limit", Count)
            for whose in ("one", "two"):
                await bucket.spend(whose)
                clock.advance(20)
            await rate_limits.purge(bucket.store, now=clock())
            assert await bucket.store.fetch_one(rows) == Count(1)
            await bucket.forget("two")
            assert await bucket.store.fetch_one(rows) == Count(0)

    asyncio.run(check())


def counting(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every time that the bucket asks the store."""
    asked: list[str] = []
    ask = Bucket.ask

    async def noted(self: Bucket, whose: str, **more: Any) -> None:  # noqa: ANN401 - passed on
        asked.append(whose)
        await ask(self, whose, **more)

    monkeypatch.setattr(Bucket, "ask", noted)
    return asked


def test_who_asks_now_and_then_costs_no_statement_and_a_crowd_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        clock = Clock()
        async with buckets(f"sqlite:///{tmp_path / 's'}", 6400, clock=clock, workers=1) as (bucket, _):
            asked = counting(bucket, monkeypatch)
            assert await granted([bucket], 800) == 800
            assert asked == []
            assert await granted([bucket], 1000) == 1000
            assert len(asked) == 10
            # What is refused is not asked about again and again.
            assert await granted([bucket], 10_000) == 6400 - 1800
            before = len(asked)
            assert await granted([bucket], 100) == 0
            # It is asked for, and refused before it reaches the store.
            assert len(asked) == before + 100
            monkeypatch.setattr(bucket, "store", None)
            with pytest.raises(TooManyError):
                await bucket.spend(FAR)

    asyncio.run(check())


def test_what_a_process_remembers_is_bounded_and_forgetting_gives_nobody_more(tmp_path: Path) -> None:
    async def check() -> None:
        async with buckets(f"sqlite:///{tmp_path / 's'}", 64, clock=Clock(), workers=1) as (bucket, _):
            assert await granted([bucket], 100) == 64
            for number in range(MOST_HELD - 1):
                assert bucket.passes(f"name {number}")
            assert not bucket.passes("one name more, in the place of one that was busy")
            assert len(bucket._held) == MOST_HELD
            assert not bucket.passes(FAR), "its own share was used up before"
            assert await granted([bucket], 20) == 0

    asyncio.run(check())


@pytest.mark.parametrize("name", ["exempt", "trusted_proxies"])
def test_what_is_no_network_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match=f"rate_limits.{name}: here is not a network"):
        ServerConfig(home=tmp_path, base_url=BASE, rate_limits=msgspec.convert({name: ["here"]}, RateLimitSettings))


def test_two_processes_share_a_limit(tmp_path: Path, database: str) -> None:
    home = made_home(tmp_path, database)
    config = home.path / "fidoloop.toml"
    config.write_text(config.read_text() + "[server.rate_limits]\nrequests = 64\nexempt = []\n")
    with started(home.path, "--workers", "2") as running_, clients_of(running_, 2) as clients:
        answers = [client.get("/.well-known/fido2-configuration") for client in clients * 60]
        statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    # Some are filled up again while they are asked for.
    assert 60 <= statuses[200] < 110
