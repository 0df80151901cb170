"""One process of a load: `python -m fidoloop.bridge.load.worker`, with its job on standard input (messages.py)."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import uvloop

from fidoloop.bridge.load.connection import Endpoint
from fidoloop.bridge.load.failures import Failure
from fidoloop.bridge.load.flows import Account
from fidoloop.bridge.load.generator import Generator, Tally
from fidoloop.bridge.load.keys import SimulatedKeys, simulated_keys
from fidoloop.bridge.load.messages import GO, Counted, Ended, Event, Failed, Job, Progress, Ready, Result
from fidoloop.bridge.load.schedule import Limits
from fidoloop.hsm.errors import KeyStoreError

SAY_SECONDS = 0.25
MAX_JOB_BYTES = 1 << 26
"""Room for the names of some million users."""


class Worker:
    """Does one job and says how it gets on."""

    def __init__(self, job: Job) -> None:
        """Take the job. Raises NetworkError: its URL or CA cannot be used."""
        self._job = job
        self._generator = Generator(
            Endpoint.of(job.server, ca=None if job.ca is None else Path(job.ca), insecure=job.insecure),
            api_key=job.api_key,
            kind=job.kind,
            dispatcher=job.dispatcher,
            policy=job.policy,
            twice=job.twice,
            timeout=job.timeout,
        )
        self._left: Counter[tuple[str, str]] = Counter()
        self._go = asyncio.Event()
        self._stop = asyncio.Event()

    async def work(self, orders: asyncio.StreamReader) -> None:
        """Enrol, wait for the others, log in, deregister."""
        listening = asyncio.create_task(self._listen(orders))
        try:
            with simulated_keys(self._job.keys, pin=self._job.pin, facet_id=self._job.facet_id) as keys:
                await self._in_three_phases(keys)
        except KeyStoreError as error:
            say(Failed(type(error).__name__, str(error)))
        finally:
            listening.cancel()
        say(Ended(counted(self._left)))

    async def _in_three_phases(self, keys: SimulatedKeys) -> None:
        job, generator = self._job, self._generator
        try:
            await self._enrol(keys)
            say(Ready())
            await self._go.wait()
            if generator.accounts and not self._stop.is_set():
                say(await self._run())
        except Failure as failure:
            say(Failed("Failure", str(failure), failure.kind, failure.step))
        finally:
            if job.deregister:
                done = Progressing("deregister")
                self._left = await generator.deregister(done=done)
                done.say()

    async def _enrol(self, keys: SimulatedKeys) -> None:
        done = Progressing("enrol")
        # A token takes its time for a key: what is enrolled is told of in between.
        at_once = len(self._job.usernames) if self._job.keys is None else 1
        for start in range(0, len(self._job.usernames), at_once):
            if self._stop.is_set():
                break
            names = self._job.usernames[start : start + at_once]
            await self._generator.enrol([Account(name, keys.phone()) for name in names], done=done, stop=self._stop)
        done.say()

    async def _run(self) -> Result:
        job, generator = self._job, self._generator
        limits = Limits(seconds=job.seconds, count=job.count, rate=job.rate, offset=job.offset)
        cpu = time.process_time()
        saying = asyncio.create_task(self._say_how_it_runs())
        try:
            tally = await generator.run(limits, connections=job.connections, stop=self._stop)
        finally:
            saying.cancel()
        return result_of(tally, time.process_time() - cpu)

    async def _say_how_it_runs(self) -> None:
        while True:
            await asyncio.sleep(SAY_SECONDS)
            tally = self._generator.tally
            say(Progress("run", tally.durations.count, tally.errors.total()))

    async def _listen(self, orders: asyncio.StreamReader) -> None:
        """Follow the orders; who gives none any more is gone."""
        while await orders.readline() == GO:
            self._go.set()
        self._stop.set()
        self._go.set()


class Progressing:
    """Counts, and says so now and then."""

    def __init__(self, phase: str) -> None:
        """Take what is counted."""
        self._phase = phase
        self._count = 0
        self._said_at = time.monotonic()

    def __call__(self) -> None:
        """Count one more."""
        self._count += 1
        if time.monotonic() - self._said_at > SAY_SECONDS:
            self.say()

    def say(self) -> None:
        """Say how many there are."""
        self._said_at = time.monotonic()
        say(Progress(self._phase, self._count))


def counted(
    found: Counter[tuple[str, str]], details: Mapping[tuple[str, str], str] = MappingProxyType({})
) -> tuple[Counted, ...]:
    """Return what was counted by service and kind, the most frequent first."""
    return tuple(Counted(*what, count, details.get(what, "")) for what, count in found.most_common())


def result_of(tally: Tally, cpu_seconds: float) -> Result:
    """Return a tally as it is told to the process that asked for it."""
    return Result(
        seconds=tally.seconds,
        cpu_seconds=cpu_seconds,
        latencies=dict(tally.latencies.buckets),
        largest=tally.latencies.largest,
        durations=dict(tally.durations.buckets),
        longest=tally.durations.largest,
        unbegun=tally.unbegun,
        errors=counted(tally.errors, tally.details),
        repeats=counted(tally.repeats.outcomes),
        accepted_twice=tally.repeats.accepted_twice.total(),
    )


def say(event: Event) -> None:
    """Tell the process that gave the job; once that is gone, nobody."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        sys.exit(1)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=MAX_JOB_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    return reader


async def _main() -> None:
    orders = await _standard_input()
    job = await orders.readline()
    if job:
        await Worker(msgspec.json.decode(job, type=Job)).work(orders)


if __name__ == "__main__":
    uvloop.run(_main())
