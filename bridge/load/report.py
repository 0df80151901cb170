"""What came of a load, of all its processes together."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from fidoloop.bridge.load.latencies import Latencies
from fidoloop.bridge.load.messages import Counted, Job, Result


class Repeated(msgspec.Struct, frozen=True, rename="camel"):
    """What the second of two equal requests got, and how many pairs both got a yes where at most one may."""

    outcomes: tuple[Counted, ...]
    accepted_twice: int


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The figures; latencies in milliseconds.

    `latency` is what a user sees: with a rate it counts from when the log-in was due, even if no connection was free.
    `duration` counts from its beginning. `unbegun` are those due at the end that never began. `client_cpu` is how much
    of a core each process of the load took: near 1, the load is the bound, and not the server.
    """

    server: str
    log_in: str
    accounts: int
    connections: int
    processes: int
    rate: float | None
    seconds: float
    succeeded: int
    failed: int
    per_second: float
    latency: dict[str, float]
    duration: dict[str, float]
    errors: tuple[Counted, ...]
    unbegun: int
    client_cpu: tuple[float, ...]
    interrupted: bool
    twice: Repeated | None = None
    not_deregistered: tuple[Counted, ...] = ()

    @property
    def good(self) -> bool:
        """Whether log-ins succeeded, none failed, and nothing was accepted twice that may be only once."""
        doubled = self.twice is not None and self.twice.accepted_twice > 0
        began = self.succeeded > 0 or self.interrupted
        return began and not (self.failed or self.unbegun or doubled or self.not_deregistered)


def report_of(
    jobs: Sequence[Job], results: Sequence[Result], not_deregistered: Iterable[Counted], *, interrupted: bool
) -> Report:
    """Put together what the processes told of their jobs."""
    latencies, durations = Latencies(), Latencies()
    for result in results:
        latencies.merge(Latencies(result.latencies, result.largest))
        durations.merge(Latencies(result.durations, result.longest))
    errors = _merged(each for result in results for each in result.errors)
    seconds = max((result.seconds for result in results), default=0.0)
    repeats = _merged(each for result in results for each in result.repeats)
    accepted_twice = sum(result.accepted_twice for result in results)
    rates = [job.rate for job in jobs if job.rate is not None]
    return Report(
        server=jobs[0].server,
        log_in=jobs[0].kind.value,
        accounts=sum(len(job.usernames) for job in jobs),
        connections=sum(min(job.connections, len(job.usernames)) for job in jobs),
        processes=len(jobs),
        rate=sum(rates) if rates else None,
        seconds=round(seconds, 3),
        succeeded=durations.count,
        failed=sum(each.count for each in errors),
        per_second=round(durations.count / seconds, 1) if seconds else 0.0,
        latency=latencies.summary(),
        duration=durations.summary(),
        errors=errors,
        unbegun=sum(result.unbegun for result in results),
        client_cpu=tuple(round(result.cpu_seconds / max(result.seconds, 1e-9), 2) for result in results),
        interrupted=interrupted,
        twice=Repeated(repeats, accepted_twice) if jobs[0].twice else None,
        not_deregistered=_merged(not_deregistered),
    )


def _merged(found: Iterable[Counted]) -> tuple[Counted, ...]:
    total: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for each in found:
        total[each.service, each.kind] += each.count
        first.setdefault((each.service, each.kind), each.first)
    return tuple(Counted(*what, count, first[what]) for what, count in total.most_common())
