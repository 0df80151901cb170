"""Latencies: percentiles of many by buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.bridge.load.latencies import Latencies

SHARES = (0.01, 0.5, 0.9, 0.95, 0.99, 1.0)


def of(values: list[float]) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200))
def test_percentiles_are_right_to_one_per_cent(values: list[float]) -> None:
    latencies, ordered = of(values), sorted(values)
    for share in SHARES:
        exact = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
        assert exact * 0.99 <= latencies.percentile(share) <= exact * 1.02
    assert latencies.percentile(1.0) <= latencies.largest == ordered[-1]
    assert latencies.count == len(values)


@given(st.lists(st.floats(0.01, 1e6)), st.lists(st.floats(0.01, 1e6)))
def test_merged_is_as_if_one_had_counted_all(some: list[float], others: list[float]) -> None:
    merged = of(some)
    merged.merge(of(others))
    assert (merged.buckets, merged.largest) == (of(some + others).buckets, of(some + others).largest)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-9])
def test_what_takes_no_time_counts_as_the_least(value: float) -> None:
    assert of([value]).percentile(0.5) <= 0.011


def test_nothing_counted_is_zero() -> None:
    assert Latencies().summary() == {"p50": 0.0, "p90": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
