"""The report of a load: put together from several processes, and whether it is good."""

from typing import Any

import msgspec
import pytest

from fidoloop.bridge.load.messages import Counted, Job, Result
from fidoloop.bridge.load.report import Report, report_of
from fidoloop.bridge.load.twice import Twice

JOB = Job(server="https://login.example", usernames=("a", "b"), connections=2, rate=5.0, twice=Twice.RACE)
RESULT = Result(
    seconds=2.0,
    cpu_seconds=1.0,
    latencies={700: 10},
    largest=11.0,
    durations={600: 10},
    longest=5.0,
    unbegun=0,
    errors=(),
    repeats=(Counted("redeem", "UAF 1403", 3),),
    accepted_twice=0,
)
REFUSED = (Counted("authentication", "HTTP 503", 1, "HTTP 503: busy"),)


def report(*results: Result, interrupted: bool = False, left: tuple[Counted, ...] = ()) -> Report:
    return report_of([JOB] * len(results), results, left, interrupted=interrupted)


def test_processes_are_added_up() -> None:
    other = msgspec.structs.replace(RESULT, seconds=4.0, largest=20.0, errors=REFUSED, unbegun=2)
    made = report(RESULT, other, other)
    assert (made.accounts, made.connections, made.processes, made.rate) == (6, 6, 3, 15.0)
    assert (made.succeeded, made.failed, made.unbegun, made.seconds, made.per_second) == (30, 2, 4, 4.0, 7.5)
    assert made.latency["max"] == 20.0
    assert made.latency["p50"] > made.duration["p50"]
    assert made.errors == (Counted("authentication", "HTTP 503", 2, "HTTP 503: busy"),)
    assert made.twice is not None
    assert made.twice.outcomes == (Counted("redeem", "UAF 1403", 9),)
    assert made.client_cpu == (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("changed", "interrupted", "left", "good"),
    [
        ({}, False, (), True),
        ({}, True, (), True),
        ({"durations": {}}, True, (), True),
        ({"durations": {}}, False, (), False),
        ({"errors": REFUSED}, False, (), False),
        ({"errors": REFUSED}, True, (), False),
        ({"unbegun": 1}, False, (), False),
        ({"accepted_twice": 1}, False, (), False),
        ({}, False, REFUSED, False),
    ],
)
def test_it_is_good_only_if_nothing_went_wrong(
    changed: dict[str, Any], interrupted: bool, left: tuple[Counted, ...], good: bool
) -> None:
    assert report(msgspec.structs.replace(RESULT, **changed), interrupted=interrupted, left=left).good == good


def test_what_is_printed_as_json_is_in_camel_case() -> None:
    assert {"perSecond", "clientCpu", "logIn"} <= msgspec.to_builtins(report(RESULT)).keys()
