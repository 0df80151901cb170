"""What runs beside a server: purging, watching connections and files."""

import asyncio

import pytest

from fidoloop.server.run import beside


def test_a_job_that_fails_is_told_of_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        raise ValueError("of this job")

    async def scenario() -> None:
        async with beside(failing()):
            while not caplog.records:
                await asyncio.sleep(0)

    asyncio.run(scenario())
    assert "job beside the server failed" in caplog.text
    assert "of this job" in caplog.text


def test_jobs_that_are_stopped_are_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with beside(asyncio.sleep(3600)):
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert not caplog.records
