"""Counters of this process, cheap to raise, and how they are shown to Prometheus.

A request raises three plain numbers; the client library's own counters would cost ten times as much.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""


class Meter:
    """The requests of one service."""

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        self.outcomes: Counter[tuple[int, int]] = Counter()
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def answered(self, status: int, uaf_status: int, seconds: float) -> None:
        """Count a request that was answered with `status`, and with `uaf_status` in it (0: none)."""
        self.outcomes[status, uaf_status] += 1
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class Metrics:
    """All that is counted. `operations` are by (event, UAF status), where event is as in the audit trail."""

    def __init__(self) -> None:
        self.meters: list[Meter] = []
        self.operations: Counter[tuple[str, int]] = Counter()
        self.store_errors = 0
        self.connections_ended: Counter[str] = Counter()
        """By the reason, where it was not the client that ended them."""
        self.worker: str | None = None
        """Which of several processes on one port this is; every figure bears it as a label."""

    def meter(self, method: str, path: str) -> Meter:
        """Return a new meter; `path` is the route's, never the caller's own text."""
        meter = Meter(method, path)
        self.meters.append(meter)
        return meter


def exposition(metrics: Metrics, *, open_sessions: int | None) -> bytes:
    """Return everything in Prometheus' text format 0.0.4; `open_sessions` None is left out."""
    registry = CollectorRegistry()
    registry.register(_Shown(metrics, open_sessions))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    if metrics.worker is None:
        return generate_latest(registry)
    labelled = CollectorRegistry()
    labelled.register(_OfWorker(registry, metrics.worker))
    return generate_latest(labelled)


class _OfWorker(Collector):
    """What a registry has, each sample with the worker's number."""

    def __init__(self, registry: CollectorRegistry, worker: str) -> None:
        self._registry = registry
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, "worker": self._worker}) for sample in metric.samples
            ]
            yield metric


class _Shown(Collector):
    def __init__(self, metrics: Metrics, open_sessions: int | None) -> None:
        self._metrics = metrics
        self._open_sessions = open_sessions

    def collect(self) -> Iterator[Metric]:
        used = [meter for meter in self._metrics.meters if meter.outcomes]
        yield _requests(used)
        yield _durations(used)
        yield self._operations()
        sessions = "Sessions that wait for their token to be redeemed or their request to be answered."
        if self._open_sessions is not None:
            yield GaugeMetricFamily("fidoloop_open_sessions", sessions, value=self._open_sessions)
        errors = CounterMetricFamily("fidoloop_store_errors", "What failed because the store did.")
        errors.add_metric((), self._metrics.store_errors)
        yield errors
        words = "Connections that the server ended: too slow, or too many."
        ended = CounterMetricFamily("fidoloop_connections_ended", words, labels=("reason",))
        for reason, count in sorted(self._metrics.connections_ended.items()):
            ended.add_metric((reason,), count)
        yield ended

    def _operations(self) -> Metric:
        words = "UAF responses by what they were for and the UAF status they ended with; 1200 is a log-in done."
        family = CounterMetricFamily("fidoloop_operations", words, labels=("operation", "uaf_status"))
        for (event, status), count in sorted(self._metrics.operations.items()):
            family.add_metric((event, str(status)), count)
        return family


def _requests(meters: list[Meter]) -> Metric:
    labels = ("method", "path", "status", "uaf_status")
    family = CounterMetricFamily("fidoloop_requests", "Requests by service and outcome.", labels=labels)
    for meter in meters:
        for (status, uaf_status), count in sorted(meter.outcomes.items()):
            family.add_metric((meter.method, meter.path, str(status), str(uaf_status or "")), count)
    return family


def _durations(meters: list[Meter]) -> Metric:
    words = "Time from a request's headers to the end of its answer; a stream's is how long it was open."
    family = HistogramMetricFamily("fidoloop_request_duration_seconds", words, labels=("method", "path"))
    for meter in meters:
        bounds = [*map(str, BUCKETS), "+Inf"]
        buckets = list(zip(bounds, accumulate(meter.buckets), strict=True))
        family.add_metric((meter.method, meter.path), buckets, meter.seconds)
    return family
