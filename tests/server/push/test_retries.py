"""Repeated attempts: how long between them, and when nobody waits any longer."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from fidoloop.server.dispatchers.base import DispatchError
from fidoloop.server.push.client import Answer
from fidoloop.server.push.retries import MAX_RETRY_AFTER, TryAgainError, retry_after, with_retries

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A clock that pauses move, and what attempts come to: None is success, a number takes so long and fails."""

    def __init__(self, outcomes: Callable[[int], TryAgainError | None], *, takes: float = 0.0) -> None:
        self.time, self.pauses, self.allowed = 100.0, [0.0][1:], [0.0][1:]
        self._outcomes, self._takes = outcomes, takes

    async def attempt(self, seconds: float) -> str:
        self.allowed.append(seconds)
        self.time += min(self._takes, seconds)
        outcome = self._outcomes(len(self.allowed))
        if outcome is not None:
            raise outcome
        return f"attempt {len(self.allowed)}"

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds

    def run(self, seconds: float = 8.0) -> str:
        return asyncio.run(with_retries(self.attempt, seconds=seconds, clock=lambda: self.time, pause=self.pause))


def test_pauses_grow_and_each_has_its_chance() -> None:
    world = World(lambda number: TryAgainError("busy") if number < 5 else None)
    assert world.run() == "attempt 5"
    for pause, full in zip(world.pauses, (0.25, 0.5, 1.0, 2.0), strict=True):
        assert full / 2 <= pause <= full
    other = World(lambda number: TryAgainError("busy") if number < 5 else None)
    other.run()
    assert world.pauses != other.pauses


def test_what_the_push_service_asks_for_is_what_is_waited() -> None:
    world = World(lambda number: TryAgainError("busy", 3.0) if number == 1 else None)
    assert world.run() == "attempt 2"
    assert world.pauses == [3.0]


def test_nothing_begins_after_the_limit() -> None:
    world = World(lambda _: TryAgainError("still busy"))
    with pytest.raises(DispatchError, match="still busy"):
        world.run()
    assert world.time < 108
    assert len(world.allowed) > 3
    late = World(lambda _: TryAgainError("busy", 8.0))
    with pytest.raises(DispatchError):
        late.run()
    assert (len(late.allowed), late.pauses) == (1, [])


def test_one_attempt_that_stalls_leaves_time_for_another() -> None:
    world = World(lambda number: TryAgainError("silent") if number == 1 else None, takes=100)
    assert world.run() == "attempt 2"
    assert world.allowed[0] == 4
    assert 3 < world.allowed[1] < 4
    assert world.time <= 108


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("999999999999999999", MAX_RETRY_AFTER),
        ("Thu, 01 Jan 2026 00:00:05 GMT", 5.0),
        ("Thu, 01 Jan 2026 01:00:05 +0100", 5.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", MAX_RETRY_AFTER),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("\u0667", None),
        ("Thu, 99 Jan 2026 00:00:05 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after(Answer(429, {"retry-after": text}, b""), NOW) == seconds


def test_no_retry_after_says_nothing() -> None:
    assert retry_after(Answer(503, {}, b""), NOW) is None
