"""A worker is killed in the middle of its work, again and again: others go on, and another takes its place."""

import asyncio
import os
import signal

from tests.faults.conftest import MeasuredBy
from tests.faults.crowd import Crowd
from tests.faults.invariants import assert_kept
from tests.faults.place import Place
from tests.server.process import Running, started
from tests.server.test_workers import pids_of

KILLS = 4


def test_a_worker_killed_under_load_loses_and_doubles_nothing(place: Place, measured: MeasuredBy) -> None:
    with started(place.home, "--workers", "2", log=place.log) as running:
        crowd = Crowd(place, [running.url])

        async def kill_again_and_again() -> list[float]:
            async with crowd.at_work():
                return [await _kill_one(crowd, running, number) for number in range(KILLS)]

        waited = asyncio.run(kill_again_and_again())
        measured("until every phone got an answer again, at worst", max(waited))
        assert_kept(place, crowd)
        assert running.stop() == 0
    assert place.log.read_text().count("ended by signal 9; another takes its place") == KILLS


async def _kill_one(crowd: Crowd, running: Running, number: int) -> float:
    await crowd.all_get_round()
    victims = sorted(pids_of(running))
    os.kill(victims[number % len(victims)], signal.SIGKILL)
    return await crowd.all_get_round(2)
