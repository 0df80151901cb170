"""A load by several processes: divided, run together, put together again."""

import asyncio

import pytest

from fidoloop.bridge.errors import NetworkError
from fidoloop.bridge.load.failures import Failure
from fidoloop.bridge.load.messages import Job
from fidoloop.bridge.load.processes import divide, run_load
from fidoloop.hsm.errors import TokenAbsent
from fidoloop.softhsm import find_softhsm_module
from tests.bridge.load.conftest import LoadLab


def job(lab: LoadLab, usernames: tuple[str, ...], **more: object) -> Job:
    members = {"connections": 4, "seconds": None, "count": 10, "deregister": True} | more
    return Job(server=lab.server.url, ca=str(lab.server.ca), api_key=lab.api_key, usernames=usernames, **members)  # type: ignore[arg-type]


def test_a_job_is_divided_without_rest(lab: LoadLab) -> None:
    parts = divide(job(lab, tuple("abcdefg"), rate=30.0), 3)
    assert sorted(name for part in parts for name in part.usernames) == list("abcdefg")
    assert sum(part.connections for part in parts) == 4
    assert sum(part.count or 0 for part in parts) == 10
    assert [part.rate for part in parts] == [10.0] * 3
    assert [part.offset for part in parts] == pytest.approx([0, 1 / 30, 2 / 30])
    with pytest.raises(ValueError, match="each process"):
        divide(job(lab, ("a", "b")), 3)


def test_two_processes_make_one_load(lab: LoadLab) -> None:
    told: dict[str, tuple[int, int]] = {}

    def tell(phase: str, done: int, failed: int) -> None:
        told[phase] = done, failed

    usernames = lab.usernames(4)
    report = asyncio.run(run_load(divide(job(lab, usernames), 2), on_progress=tell))
    assert (report.succeeded, report.failed, report.processes, report.good) == (10, 0, 2, True)
    assert told["enrol"] == told["deregister"] == (4, 0)
    assert 0 < report.latency["p50"] <= report.latency["max"]
    deregistered = [user for event, user in lab.server.audit() if event == "deregistration"]
    assert set(usernames) <= set(deregistered)


def test_what_was_enrolled_before_a_failure_is_deregistered(lab: LoadLab) -> None:
    (there,) = lab.usernames(1)
    with pytest.raises(Failure, match="UAF 1400"):
        asyncio.run(run_load(divide(job(lab, (there, "nobody-of-this-name")), 2)))
    events = [event for event, user in lab.server.audit() if user == there]
    assert events[0] in {"deregistration", "user-added"}
    assert events.count("registration") == events.count("deregistration")


def test_stopped_while_it_enrols_it_reports_and_tidies_up(lab: LoadLab) -> None:
    usernames = lab.usernames(40)

    async def check() -> None:
        stop = asyncio.Event()
        report = await run_load(
            divide(job(lab, usernames, count=None), 2),
            stop=stop,
            on_progress=lambda phase, done, failed: stop.set(),
        )
        assert report.interrupted
        assert not report.not_deregistered

    asyncio.run(check())
    events = [event for event, user in lab.server.audit() if user in usernames]
    assert 0 < events.count("registration") == events.count("deregistration")


def test_no_server_and_no_token_are_told_apart(lab: LoadLab) -> None:
    with pytest.raises(NetworkError, match="refused"):
        asyncio.run(run_load([Job(server="http://127.0.0.1:1", insecure=True, usernames=("a",))]))
    uri = f"pkcs11:token=not-there?module-path={find_softhsm_module()}"
    with pytest.raises(TokenAbsent):
        asyncio.run(run_load([job(lab, ("a",), keys=uri, pin="1234")]))
