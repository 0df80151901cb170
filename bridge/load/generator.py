"""The load of one process: accounts that are enrolled, log in for a while, and are deregistered."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import NamedTuple

from fidoloop.bridge.load.connection import Client, Endpoint
from fidoloop.bridge.load.failures import Failure
from fidoloop.bridge.load.flows import Account, Kind, deregister, enrolment, way_to_log_in
from fidoloop.bridge.load.latencies import Latencies
from fidoloop.bridge.load.schedule import Limits, Schedule
from fidoloop.bridge.load.services import Call, Services, ask
from fidoloop.bridge.load.twice import Repeating, Repeats, Twice

AT_ONCE = 8
"""Enrolments and deregistrations at a time: they are not what is measured."""
FAILED_PAUSE_SECONDS = 0.05
"""How long a connection pauses after a failure, where no rate is asked for: a server that is gone is not hammered."""


class Outcome(NamedTuple):
    """One log-in: `counter` is what the phone signed last, `failure` None where the server accepted it.

    `session_id` is "" where the phone was not told it; times are of time.perf_counter.
    """

    account: Account
    counter: int
    session_id: str
    begun: float
    ended: float
    failure: Failure | None


@dataclass
class Tally:
    """What came of the log-ins.

    `errors` by service and kind, `details` of the first of each; `unbegun` were due, and no connection was free.

    `latencies` are of those that succeeded: with a rate from when they were due, else from their beginning, as
    `durations` are always.
    """

    latencies: Latencies = field(default_factory=Latencies)
    durations: Latencies = field(default_factory=Latencies)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    details: dict[tuple[str, str], str] = field(default_factory=dict)
    repeats: Repeats = field(default_factory=Repeats)
    seconds: float = 0.0
    unbegun: int = 0


class Generator:
    """Simulated phones and laptops at one server, in this process's event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        api_key: str | None = None,
        kind: Kind = Kind.UAF,
        dispatcher: str = "png-qr-code",
        policy: str | None = None,
        twice: Twice | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Take the server; `timeout` is for connecting and for each request, in seconds."""
        self.services = Services(endpoint.authority, api_key, scheme="https" if endpoint.tls else "http")
        self.accounts: list[Account] = []
        """Those that are enrolled."""
        self.tally = Tally()
        """Of the last run, or the one under way."""
        self._endpoint, self._twice, self._timeout = endpoint, twice, timeout
        self._enrol = enrolment(kind, self.services, policy)
        self._log_in = way_to_log_in(kind, self.services, dispatcher)

    async def enrol(
        self, accounts: Sequence[Account], *, done: Callable[[], None] = lambda: None, stop: asyncio.Event | None = None
    ) -> None:
        """Enrol accounts until `stop` is set; they may log in from then on. `done` is called after each.

        Raises:
            Failure: the first that failed; others may have been enrolled.
        """

        async def one(call: Call, account: Account) -> None:
            if stop is None or not stop.is_set():
                await self._enrol(call, account)
                self.accounts.append(account)
                done()

        await self._each(accounts, one)

    async def deregister(self, *, done: Callable[[], None] = lambda: None) -> Counter[tuple[str, str]]:
        """Deregister what was enrolled; return the failures by service and kind."""
        errors: Counter[tuple[str, str]] = Counter()

        async def one(call: Call, account: Account) -> None:
            try:
                await deregister(call, self.services, account)
            except Failure as failure:
                errors[failure.step, failure.kind] += 1
            done()

        accounts, self.accounts = self.accounts, []
        await self._each(accounts, one)
        return errors

    async def run(
        self,
        limits: Limits,
        *,
        connections: int = 16,
        stop: asyncio.Event | None = None,
        observe: Callable[[Outcome], None] | None = None,
    ) -> Tally:
        """Log the enrolled accounts in until the limits are reached or `stop` is set; what is in flight still ends.

        Connections share out the accounts, since an account logs in once at a time: there are no more connections
        than accounts. `observe` is told of every log-in. Raises ValueError: nobody is enrolled.
        """
        if not self.accounts:
            raise ValueError("nobody is enrolled")
        self.tally = Tally()
        schedule = Schedule(limits, stop or asyncio.Event())
        started = perf_counter()
        busy = min(connections, len(self.accounts))
        async with asyncio.TaskGroup() as tasks:
            for number in range(busy):
                tasks.create_task(self._log_in_by_turns(self.accounts[number::busy], limits, schedule, observe))
        self.tally.seconds = perf_counter() - started
        self.tally.unbegun = schedule.unbegun
        return self.tally

    async def _log_in_by_turns(
        self,
        accounts: Sequence[Account],
        limits: Limits,
        schedule: Schedule,
        observe: Callable[[Outcome], None] | None,
    ) -> None:
        tally = self.tally
        with self._connected(tally.repeats) as call:
            for account in itertools.cycle(accounts):
                counted_from = await schedule.next()
                if counted_from is None:
                    return
                begun, session_id, failed = perf_counter(), "", None
                try:
                    session_id = await self._log_in(call, account)
                except Failure as failure:
                    failed = failure
                    tally.errors[failure.step, failure.kind] += 1
                    tally.details.setdefault((failure.step, failure.kind), str(failure))
                ended = perf_counter()
                if failed is None:
                    tally.latencies.add((ended - counted_from) * 1000)
                    tally.durations.add((ended - begun) * 1000)
                if observe is not None:
                    observe(Outcome(account, account.phone.counter, session_id, begun, ended, failed))
                if failed is not None and limits.rate is None:
                    await asyncio.sleep(FAILED_PAUSE_SECONDS)

    async def _each(self, accounts: Sequence[Account], work: Callable[[Call, Account], Awaitable[None]]) -> None:
        left = iter(accounts)

        async def by_turns() -> None:
            with self._connected(Repeats()) as call:
                for account in left:
                    await work(call, account)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(AT_ONCE, len(accounts))):
                    tasks.create_task(by_turns())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    @contextmanager
    def _connected(self, repeats: Repeats) -> Iterator[Call]:
        first, second = (Client(self._endpoint, timeout=self._timeout) for _ in range(2))
        try:
            yield partial(ask, first) if self._twice is None else Repeating(first, second, self._twice, repeats)
        finally:
            first.close()
            second.close()
