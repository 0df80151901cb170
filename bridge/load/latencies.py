"""Latencies, counted in buckets each one per cent wider than the last: of any number of log-ins, at one size."""

import math
from collections import Counter

_WIDTH = math.log(1.01)
_UNIT_MILLIS = 0.01
"""What is quicker counts as this."""


class Latencies:
    """A histogram in milliseconds; percentiles are right to one per cent, the largest exactly."""

    def __init__(self, buckets: dict[int, int] | None = None, largest: float = 0.0) -> None:
        """Take up what `buckets` and `largest` of another one were."""
        self.buckets: Counter[int] = Counter(buckets or {})
        self.largest = largest

    def add(self, millis: float) -> None:
        """Count one latency."""
        self.buckets[int(math.log(max(millis, _UNIT_MILLIS) / _UNIT_MILLIS) / _WIDTH)] += 1
        self.largest = max(self.largest, millis)

    def merge(self, other: "Latencies") -> None:
        """Count what another one has counted."""
        self.buckets.update(other.buckets)
        self.largest = max(self.largest, other.largest)

    @property
    def count(self) -> int:
        """How many were counted."""
        return self.buckets.total()

    def percentile(self, share: float) -> float:
        """Return the latency that `share` (0 to 1) of all do not exceed; 0 where none was counted."""
        left = math.ceil(share * self.count)
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return min(_UNIT_MILLIS * math.exp((bucket + 1) * _WIDTH), self.largest)
        return self.largest

    def summary(self) -> dict[str, float]:
        """Return p50, p90, p95, p99 and max in milliseconds."""
        shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
        found = {name: round(self.percentile(share), 2) for name, share in shares.items()}
        return found | {"max": round(self.largest, 2)}
