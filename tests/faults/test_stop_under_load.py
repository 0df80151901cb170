"""SIGTERM under load: what was begun is finished, nobody's answer is cut off, and what was told is kept."""

import asyncio

from tests.faults.conftest import MeasuredBy
from tests.faults.crowd import Crowd
from tests.faults.exchange import CUT_OFF, UNAVAILABLE, Answer, Client
from tests.faults.invariants import assert_kept
from tests.faults.place import Place
from tests.server.process import Running, started


def test_a_stop_under_load_cuts_nobody_off(place: Place) -> None:
    with started(place.home, "--workers", "2", log=place.log) as running:
        crowd = Crowd(place, [running.url])

        async def scenario() -> None:
            async with crowd.at_work():
                await crowd.all_get_round(3)
                assert await asyncio.to_thread(running.stop) == 0
                await crowd.all_fail()

        asyncio.run(scenario())
    assert not [kind for kind in crowd.ledger.answers if kind.endswith((CUT_OFF, "503"))]
    assert "exceeded" not in place.log.read_text()
    _kept_by_the_next(place, crowd, running.port)


def test_a_server_that_drains_serves_everybody_until_nobody_is_sent_to_it(place: Place, measured: MeasuredBy) -> None:
    with started(place.home, "--workers", "2", "--set", "drain_seconds=3", log=place.log) as running:
        crowd = Crowd(place, [running.url])

        async def scenario() -> None:
            async with crowd.at_work():
                await crowd.all_get_round(2)
                running.process.terminate()
                answer = await _when_not_ready(running)
                assert "about to stop" in answer.body["detail"]
                assert answer.response is not None
                assert answer.response.headers["connection"] == "close"
                measured("a round of all phones while it drains", await crowd.all_get_round())
                # It served all of them, by new connections too; who balances the load has left by now.
                assert not [kind for kind in crowd.ledger.answers if not kind.endswith(": answered")]
            assert await asyncio.to_thread(running.stop) == 0

        asyncio.run(scenario())
    _kept_by_the_next(place, crowd, running.port)


async def _when_not_ready(running: Running) -> Answer:
    """Return the first answer of /readyz, on a connection of its own each time, that says so."""
    while True:
        client = Client(running.url)
        answer = await client.get("/readyz")
        await client.close()
        assert answer.response is not None, answer.lost
        if answer.response.status_code == UNAVAILABLE:
            return answer


def _kept_by_the_next(place: Place, crowd: Crowd, port: int) -> None:
    """See what a server in the same place, of the same URL and so of the same AppID, has."""
    with started(place.home, "--port", str(port), log=place.log) as running:
        assert running.url in crowd.urls
        assert_kept(place, crowd)
        assert running.stop() == 0
