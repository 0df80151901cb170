"""PostgreSQL ends under load and comes back: meanwhile everybody is told so, afterwards everything is there."""

import asyncio
from collections.abc import Callable

import pytest

from tests.faults.conftest import MeasuredBy
from tests.faults.crowd import Crowd
from tests.faults.exchange import UNAVAILABLE
from tests.faults.invariants import assert_all_were_told
from tests.faults.place import Place
from tests.server.postgres import Cluster
from tests.server.process import started

ENDINGS: dict[str, Callable[[Cluster], None]] = {"killed": Cluster.kill, "stopped at once": Cluster.stop}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_database_that_ends_under_load_is_used_again_when_it_is_back(
    postgres_place: Place, ending: str, measured: MeasuredBy
) -> None:
    place, cluster = postgres_place, postgres_place.cluster
    assert cluster is not None
    with started(place.home, "--workers", "2", log=place.log) as running:
        crowd = Crowd(place, [running.url])

        async def scenario() -> None:
            async with crowd.at_work():
                await crowd.all_get_round(2)
                try:
                    await asyncio.to_thread(ENDINGS[ending], cluster)
                    await crowd.all_fail()
                    ready = await crowd.client().get("/readyz")
                    assert ready.response is not None
                    assert ready.response.status_code == UNAVAILABLE
                finally:
                    await asyncio.to_thread(cluster.start)
                measured(f"{ending}: until every phone got an answer", await crowd.all_get_round(2))

        asyncio.run(scenario())
        assert_all_were_told(place, crowd, running)
