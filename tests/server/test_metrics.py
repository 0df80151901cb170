"""Metrics: what is counted, who may read it, and that a store that fails takes only its own figures away."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fidoloop.server.app import create_app
from fidoloop.server.errors import StoreError
from fidoloop.server.metrics import BUCKETS, Meter
from fidoloop.server.store import queries
from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Nothing
from tests.server.harness import BASE, Bench, running
from tests.server.phone import twisted

AUTHENTICATION = "/nevisfido/uaf/1.1/authentication"


def run(home: Path, check: Callable[[Bench], Awaitable[None]], **options: Any) -> None:  # noqa: ANN401 - any option
    async def scenario() -> None:
        async with running(home, **options) as bench:
            await check(bench)

    asyncio.run(scenario())


async def scraped(bench: Bench) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await bench.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def requests(path: str, status: int, uaf_status: int | str = "", method: str = "POST") -> Any:  # noqa: ANN401 - a key
    labels = {"method": method, "path": path, "status": str(status), "uaf_status": str(uaf_status)}
    return sample("fidoloop_requests_total", **labels)


def test_requests_are_counted_by_service_and_outcome(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        phone = await bench.registered()
        for _ in range(2):
            request = await bench.uaf_request("Auth", {}, api=False)
            assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1200
        assert (await bench.respond("Auth", phone.authenticate(request)))["statusCode"] == 1491
        request = await bench.uaf_request("Auth", {"username": "jeff"})
        assert (await bench.respond("Auth", phone.authenticate(request, twisted(cut=3))))["statusCode"] == 1498
        await bench.client.get("/nowhere/at/all")
        await bench.client.request("PUT", AUTHENTICATION)
        await bench.client.post("/nevisfido/status", content=b"{}")
        found = await scraped(bench)
        assert found[requests(AUTHENTICATION, 200, 1200)] == 2
        assert found[requests(AUTHENTICATION, 200, 1491)] == 1
        assert found[requests(AUTHENTICATION, 200, 1498)] == 1
        assert found[requests("/nevisfido/status", 415)] == 1
        assert found[requests("", 404, method="")] == 1
        assert found[requests("", 405, method="")] == 1
        assert found[sample("fidoloop_operations_total", operation="authentication", uaf_status="1200")] == 2
        assert found[sample("fidoloop_operations_total", operation="authentication", uaf_status="1498")] == 1
        assert found[sample("fidoloop_operations_total", operation="registration", uaf_status="1200")] == 1
        assert found[sample("fidoloop_store_errors_total")] == 0
        service = {"method": "POST", "path": AUTHENTICATION}
        assert found[sample("fidoloop_request_duration_seconds_count", **service)] == 4
        assert found[sample("fidoloop_request_duration_seconds_bucket", le="+Inf", **service)] == 4
        assert found[sample("fidoloop_request_duration_seconds_sum", **service)] > 0
        # Labels are the server's own words: nobody makes new ones by asking for new paths.
        assert not [name for name, labels in found if any("nowhere" in value for _, value in labels)]

    run(tmp_path, check)


def test_open_sessions_are_those_that_still_wait(tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        async def waiting() -> float:
            return (await scraped(bench))[sample("fidoloop_open_sessions")]

        phone = await bench.registered()
        assert await waiting() == 0
        request = await bench.uaf_request("Auth", {}, api=False)
        dispatch = {"getUafRequest": {"op": "Auth", "context": "{}"}, "dispatcher": "link"}
        headers = {"content-type": "application/json"}
        made = (await bench.post("/token/dispatch/authentication", dispatch, headers, api=True)).json()
        assert await waiting() == 2
        await bench.redeem(made["token"])
        assert await waiting() == 2
        await bench.respond("Auth", phone.authenticate(request))
        assert await waiting() == 1
        bench.clock.advance(121)
        assert await waiting() == 0

    run(tmp_path, check)


@pytest.mark.parametrize("seconds", [0.0, *BUCKETS, 0.0011, 99.0])
def test_a_duration_falls_into_the_first_bucket_that_holds_it(seconds: float) -> None:
    meter = Meter("GET", "/")
    meter.answered(200, 0, seconds)
    index = meter.buckets.index(1)
    assert index == len(BUCKETS) or seconds <= BUCKETS[index]
    assert index == 0 or seconds > BUCKETS[index - 1]


ACCESS = [
    # configured, address, X-Forwarded-For, credential, answer
    ("loopback", "127.0.0.1", False, False, 200),
    ("loopback", "::1", False, False, 200),
    ("loopback", "127.0.0.1", True, False, 401),
    ("loopback", "127.0.0.1", True, True, 200),
    ("loopback", "192.0.2.1", False, False, 401),
    ("loopback", "192.0.2.1", False, True, 200),
    ("loopback", "", False, False, 401),
    ("credential", "127.0.0.1", False, False, 401),
    ("credential", "192.0.2.1", False, True, 200),
    ("open", "192.0.2.1", True, False, 200),
    ("off", "127.0.0.1", False, True, 404),
]


@pytest.mark.parametrize(("access", "address", "passed_on", "credential", "status"), ACCESS)
def test_who_may_read_them(  # noqa: PLR0917 - a row of the table
    tmp_path: Path, access: str, address: str, passed_on: bool, credential: bool, status: int
) -> None:
    async def check(bench: Bench) -> None:
        app = create_app(bench.config, bench.store, clock=bench.clock)
        transport = httpx2.ASGITransport(app=app, client=(address, 1))
        headers = {"x-forwarded-for": "127.0.0.1"} if passed_on else {}
        headers |= bench.api if credential else {}
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert ("fidoloop_" in answer.text) == (status == 200)

    run(tmp_path, check, metrics_access=access)


def test_a_store_that_fails_is_counted_and_takes_only_its_own_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(bench: Bench) -> None:
        await bench.store.execute(Query("ALTER TABLE session RENAME TO lost", Nothing))
        answer = await bench.post("/status", {"sessionId": "x"}, {"content-type": "application/json"})
        assert answer.status_code == 503
        with pytest.raises(StoreError):
            await bench.store.fetch_one(queries.STATUS, id="x")
        found = await scraped(bench)
        # The status that failed, and the count that this answer goes without.
        assert found[sample("fidoloop_store_errors_total")] == 2
        assert found[requests("/nevisfido/status", 503)] == 1
        assert not [name for name, _ in found if name == "fidoloop_open_sessions"]

    run(tmp_path, check)
