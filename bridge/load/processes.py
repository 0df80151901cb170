"""A load by several processes, which begin together."""

import asyncio
import sys
from collections.abc import Callable, Sequence

import msgspec

from fidoloop.bridge.errors import BridgeError, NetworkError
from fidoloop.bridge.load.failures import NETWORK_KINDS, Failure
from fidoloop.bridge.load.messages import GO, STOP, Counted, Ended, Event, Failed, Job, Progress, Ready, Result
from fidoloop.bridge.load.report import Report, report_of
from fidoloop.bridge.load.schedule import shares
from fidoloop.hsm import errors as hsm_errors

_COMMAND = (sys.executable, "-m", "fidoloop.bridge.load.worker")
_LINE_BYTES = 1 << 24
OnProgress = Callable[[str, int, int], None]
"""Told of a phase ("enrol", "run", "deregister"), and how many are done and failed in it, by all processes."""


def divide(job: Job, processes: int) -> list[Job]:
    """Return each process's share of a job. Raises ValueError: there are fewer users or connections than processes."""
    if len(job.usernames) < processes or job.connections < processes:
        raise ValueError("each process needs an account and a connection")
    connections = shares(job.connections, processes)
    counts = [None] * processes if job.count is None else shares(job.count, processes)
    return [
        msgspec.structs.replace(
            job,
            usernames=job.usernames[number::processes],
            connections=own,
            count=count,
            rate=None if job.rate is None else job.rate / processes,
            offset=0.0 if job.rate is None else number / job.rate,
        )
        for number, (own, count) in enumerate(zip(connections, counts, strict=True))
    ]


async def run_load(
    jobs: Sequence[Job],
    *,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda phase, done, failed: None,
) -> Report:
    """Run each job in a process of its own, until they end or `stop` is set, and report on all of them.

    Raises:
        NetworkError, BridgeError: an account could not be enrolled, for want of an answer or by one; KeyStoreError: a
            token failed. What was enrolled by then is deregistered, where the jobs say so.
    """
    load = _Load(len(jobs), on_progress)
    stopping = asyncio.create_task(_stop_when(stop or asyncio.Event(), load))
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, job in enumerate(jobs):
                tasks.create_task(_run(number, job, load))
    finally:
        stopping.cancel()
    if load.failed is not None:
        raise _error_of(load.failed)
    interrupted = stop is not None and stop.is_set()
    return report_of(jobs, load.results, load.not_deregistered, interrupted=interrupted)


class _Load:
    """What the processes have told, and what they are told."""

    def __init__(self, processes: int, on_progress: OnProgress) -> None:
        self.results: list[Result] = []
        self.not_deregistered: list[Counted] = []
        self.failed: Failed | None = None
        self._on_progress = on_progress
        self._progress: dict[tuple[str, int], Progress] = {}
        self._awaited = processes
        self._stopped = False
        self._orders: list[asyncio.StreamWriter] = []

    def begin(self, orders: asyncio.StreamWriter, job: Job) -> None:
        """Give a process its job."""
        self._orders.append(orders)
        orders.write(msgspec.json.encode(job) + b"\n")
        if self._stopped:
            orders.write(STOP)

    def stop(self) -> None:
        """Have all processes end."""
        self._stopped = True
        self._tell(STOP)

    def take(self, number: int, event: Event) -> None:
        """Take in what a process says."""
        if isinstance(event, Progress):
            self._progress[event.phase, number] = event
            of_all = [each for (phase, _), each in self._progress.items() if phase == event.phase]
            self._on_progress(event.phase, sum(each.done for each in of_all), sum(each.failed for each in of_all))
        elif isinstance(event, Ready):
            self._awaited -= 1
            if not self._awaited:
                self._tell(GO)
        elif isinstance(event, Result):
            self.results.append(event)
        elif isinstance(event, Ended):
            self.not_deregistered += event.errors
        else:
            self.failed = self.failed or event
            self.stop()

    def _tell(self, order: bytes) -> None:
        for orders in self._orders:
            if not orders.is_closing():
                orders.write(order)


async def _stop_when(stop: asyncio.Event, load: _Load) -> None:
    await stop.wait()
    load.stop()


async def _run(number: int, job: Job, load: _Load) -> None:
    # A session of its own: Ctrl-C is for the process that started it, which then says to stop.
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        load.begin(process.stdin, job)
        ended = False
        async for line in process.stdout:
            event = msgspec.json.decode(line, type=Event)
            load.take(number, event)
            ended = isinstance(event, Ended)
        if not ended:
            load.take(number, Failed(BridgeError.__name__, "a process of the load died"))
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


def _error_of(failed: Failed) -> Exception:
    if failed.kind in NETWORK_KINDS:
        return NetworkError(failed.detail)
    if failed.kind:
        return Failure(failed.kind, failed.detail, step=failed.service)
    of_token = getattr(hsm_errors, failed.error, None)
    return of_token(failed.detail) if of_token is not None else BridgeError(failed.detail)
