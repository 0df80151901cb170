"""PostgreSQL hangs under load and goes on: meanwhile everybody is told so in time, afterwards everything is there."""

import asyncio
import time

import asyncpg

from fidoloop.server.shared_changes import CHANNEL
from tests.faults.conftest import MeasuredBy
from tests.faults.crowd import Crowd
from tests.faults.exchange import UNAVAILABLE, Client
from tests.faults.invariants import assert_all_were_told
from tests.faults.place import Place
from tests.server.process import started

WORKERS = 2
CLIENTS = 8


def test_a_database_that_hangs_under_load_is_used_again_when_it_goes_on(
    postgres_place: Place, measured: MeasuredBy
) -> None:
    place, cluster = postgres_place, postgres_place.cluster
    assert cluster is not None
    with started(place.home, "--workers", str(WORKERS), log=place.log) as running:
        crowd = Crowd(place, [running.url])

        async def scenario() -> None:
            async with crowd.at_work():
                await crowd.all_get_round(2)
                try:
                    cluster.suspend()
                    # First those that had a connection, then those that want a new one.
                    measured("until every phone was told so", await crowd.all_fail())
                    measured("and again", await crowd.all_fail())
                    ready = await crowd.client().get("/readyz")
                    assert ready.response is not None
                    assert ready.response.status_code == UNAVAILABLE
                finally:
                    cluster.resume()
                measured("until every phone got an answer", await crowd.all_get_round(2))
                await _all_tell(cluster.url)

        asyncio.run(scenario())
        assert_all_were_told(place, crowd, running)


def test_a_server_whose_database_hangs_stops_when_it_is_told_to(postgres_place: Place, measured: MeasuredBy) -> None:
    place, cluster = postgres_place, postgres_place.cluster
    assert cluster is not None
    with started(place.home, "--workers", str(WORKERS), "--set", "stop_seconds=1", log=place.log) as running:

        async def scenario() -> None:
            clients = [Client(running.url) for _ in range(CLIENTS)]
            assert {(await client.get("/healthz")).failed for client in clients} == {False}
            try:
                cluster.suspend()
                asking = [asyncio.create_task(client.get("/healthz")) for client in clients]
                began = time.monotonic()
                assert await asyncio.to_thread(running.stop) == 0
                measured("until it stopped", time.monotonic() - began)
            finally:
                cluster.resume()
            assert all(answer.failed for answer in await asyncio.gather(*asking))
            for client in clients:
                await client.close()

        asyncio.run(scenario())
    assert "did not stop in time" not in place.log.read_text()
    assert "Exception in ASGI" not in place.log.read_text()


async def _all_tell(url: str) -> None:
    """Return when every worker has told the others of a change."""
    tellers: set[int] = set()
    heard = asyncio.Event()

    def hear(_: object, sender: int, __: str, ___: str) -> None:
        tellers.add(sender)
        if len(tellers) == WORKERS:
            heard.set()

    connection = await asyncpg.connect(url)
    await connection.add_listener(CHANNEL, hear)
    async with asyncio.timeout(120):
        await heard.wait()
    await connection.close()
