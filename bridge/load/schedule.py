"""When log-ins begin."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

LOOK_SECONDS = 0.2
"""How often who waits for its time looks whether it is to stop."""
TIMER_SECONDS = 0.002
"""An event loop wakes up this late at most, without anybody having made it wait."""


@dataclass(frozen=True)
class Limits:
    """When a run ends: after `seconds`, or after `count` log-ins; None: not by that.

    `rate` is how many begin a second, the first of them `offset` seconds after the start: an open loop, which does not
    wait for a slow server. Without it each connection begins the next as soon as the last has ended.
    """

    seconds: float | None = 10.0
    count: int | None = None
    rate: float | None = None
    offset: float = 0.0


class Schedule:
    """Gives out log-ins to whichever connection is free."""

    def __init__(self, limits: Limits, stop: asyncio.Event) -> None:
        """Begin now; `stop` ends it before its time."""
        self._limits, self._stop = limits, stop
        self._started = perf_counter()
        self._given = 0

    @property
    def unbegun(self) -> int:
        """How many were due by now that no connection was free for."""
        rate, left = self._limits.rate, self._limits.count
        if rate is None:
            return 0
        elapsed = perf_counter() - self._started
        elapsed = elapsed if self._limits.seconds is None else min(elapsed, self._limits.seconds)
        due = max(0, int((elapsed - self._limits.offset) * rate))
        return max(0, (due if left is None else min(due, left)) - self._given)

    async def next(self) -> float | None:
        """Return from when on the latency of the log-in counts that is to begin now, None where there are no more.

        With a rate that is when it was due, which may be long past: that others waited is part of what a user sees.
        """
        if self._given == self._limits.count or self._over():
            return None
        rate = self._limits.rate
        number = self._given
        if rate is None:
            self._given += 1
            return perf_counter()
        due = self._started + self._limits.offset + number / rate
        if self._limits.seconds is not None and due >= self._started + self._limits.seconds:
            return None
        self._given += 1
        while (left := due - perf_counter()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            if self._stop.is_set():
                self._given -= 1
                return None
        now = perf_counter()
        return now if now - due < TIMER_SECONDS else due

    def _over(self) -> bool:
        seconds = self._limits.seconds
        return self._stop.is_set() or (seconds is not None and perf_counter() >= self._started + seconds)


def shares(total: int, parts: int) -> Iterator[int]:
    """Divide `total` into `parts` that differ by one at most."""
    return (total // parts + (number < total % parts) for number in range(parts))
