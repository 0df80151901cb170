"""Limits on how often something may be done: token buckets in the store, shared by every process on it.

A request that everybody makes now and then costs no statement: each process lets an eighth of a limit pass by itself,
divided by the number of workers, and takes the rest from the store, several at once. So a limit holds over the workers
of one node within 1/64, and each further node on the same store adds an eighth. Those of fewer than eight are exact.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fidoloop.protocol import base64url
from fidoloop.server.settings.rate_limits import RateLimitSettings
from fidoloop.server.store import limit_queries
from fidoloop.server.store.base import Store, Transaction

MOST_HELD: Final = 10_000
"""Names that a process remembers of each limit; what it has forgotten, it asks the store."""
_OWN_PART, _LEASED_PART = 8, 64
_MINUTE, _MICROS = 60, 1_000_000


class TooManyError(Exception):
    """A limit is used up; `retry_after` is in seconds, at least 1."""

    def __init__(self, what: str, retry_after: int) -> None:
        super().__init__(f"{what}; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(slots=True)
class _Held:
    """What this process has of one name's bucket; times in microseconds."""

    own_full_at: int = 0
    credit: int = 0
    credit_until: int = 0
    refused_until: int = 0


@dataclass(slots=True)
class Bucket:
    """One limit: `most` within `seconds`, filled up evenly; 0 is no limit. `what` is what a refusal says."""

    name: str
    most: int
    seconds: int
    what: str
    workers: int
    store: Store
    clock: Callable[[], int]
    _held: dict[str, _Held] = field(default_factory=dict)
    _window: int = 0
    _own_interval: int = 0
    _interval: int = 0
    _leased: int = 1

    def __post_init__(self) -> None:
        """Divide the limit between this process and the store."""
        if not self.most:
            return
        self._window = self.seconds * _MICROS
        own = self.most // (_OWN_PART * self.workers)
        self._own_interval = self._window // own if own else 0
        self._interval = max(1, self._window // (self.most - own * self.workers))
        self._leased = max(1, self.most // (_LEASED_PART * self.workers))

    def passes(self, whose: str) -> bool:
        """Tell whether one more goes through without asking the store; whoever has no name is exempt."""
        if not self.most or not whose:
            return True
        now = self.clock() * 1000
        held = self._held.get(whose) or self._hold(whose, now)
        if self._own_interval:
            full_at = max(held.own_full_at, now) + self._own_interval
            # Two windows off is what a clock was that has been put right since.
            if full_at > now + 2 * self._window:
                full_at = now + self._own_interval
            if full_at <= now + self._window:
                held.own_full_at = full_at
                return True
        if held.credit and now < held.credit_until:
            held.credit -= 1
            return True
        return False

    async def spend(self, whose: str, *, within: Transaction | None = None) -> None:
        """Use one up, in the open transaction `within` where the caller is in one. Raises TooManyError, StoreError."""
        if self.passes(whose):
            return
        await self.ask(whose, within=within)

    async def ask(self, whose: str, *, within: Transaction | None = None) -> None:
        """Ask the store for one more than passed here; see `spend`."""
        now = self.clock() * 1000
        held = self._held[whose]
        if now < held.refused_until <= now + self._window:
            raise self._refusal(held.refused_until - now)
        if within is None:
            async with self.store.transaction() as transaction:
                granted = await self._lease(transaction, whose, held, now)
        else:
            granted = await self._lease(within, whose, held, now)
        if not granted:
            raise self._refusal(held.refused_until - now)

    async def forget(self, whose: str) -> None:
        """Have a bucket full again: what it was to count has come to a good end."""
        self._held.pop(whose, None)
        if self.most:
            await self.store.execute(limit_queries.FORGET, name=self._row(whose))

    async def _lease(self, transaction: Transaction, whose: str, held: _Held, now: int) -> bool:
        lease = self._leased * self._interval
        spent = await transaction.fetch_one(
            limit_queries.SPEND,
            name=self._row(whose),
            now=now,
            wrong=now + 2 * self._window,
            first=now + lease,
            leased=self._leased,
            lease=lease,
            one=self._interval,
            most=now + self._window,
        )
        assert spent is not None, "it returns the row that it wrote"
        if not spent.granted:
            held.refused_until = spent.full_at + self._interval - self._window
            return False
        held.credit += spent.granted - 1
        held.credit_until = now + lease
        return True

    def _hold(self, whose: str, now: int) -> _Held:
        held = _Held()
        if len(self._held) >= MOST_HELD:
            oldest = self._held.pop(next(iter(self._held)))
            if oldest.own_full_at > now:
                # So many at once: nobody gets a share of his own by having been forgotten.
                held.own_full_at = now + self._window
        self._held[whose] = held
        return held

    def _row(self, whose: str) -> str:
        digest = hashlib.sha256(whose.encode("utf-8", "surrogatepass")).digest()
        return f"{self.name}:{base64url.encode(digest)}"

    def _refusal(self, micros: int) -> TooManyError:
        return TooManyError(self.what, max(1, -(-micros // _MICROS)))


class RateLimits:
    """The limits of a server."""

    def __init__(self, settings: RateLimitSettings, store: Store, clock: Callable[[], int], *, workers: int) -> None:
        def bucket(name: str, most: int, what: str, *, seconds: int = _MINUTE) -> Bucket:
            return Bucket(name, most if settings.enabled else 0, seconds, what, workers, store, clock)

        self.requests = bucket("requests", settings.requests, "too many requests from this address")
        self.begun = bucket("begun", settings.begun, "too many authentications were begun from this address")
        self.session = bucket("session", settings.session, "too many requests about this session")
        self.user_pushes = bucket("user-pushes", settings.user_pushes, "too many pushes to this user")
        self.password_tries = bucket(
            "password-tries", settings.password_tries, "too many wrong passwords", seconds=10 * _MINUTE
        )


async def purge(store: Store, *, now: int) -> None:
    """Delete the buckets that are full again; `now` in epoch milliseconds."""
    await store.execute(limit_queries.PURGE, now=now * 1000)
