"""A server that is killed in the middle of a load, and comes back."""

import asyncio
import signal
from contextlib import ExitStack
from pathlib import Path

from fidoloop.bridge.load.connection import Endpoint
from fidoloop.bridge.load.failures import LOST, REFUSED
from fidoloop.bridge.load.flows import Account
from fidoloop.bridge.load.generator import Generator, Outcome
from fidoloop.bridge.load.phone import SimulatedPhone, software_statement
from fidoloop.bridge.load.schedule import Limits
from fidoloop.lab import LabServer
from tests.server.process import started

USERS = ("load-0", "load-1", "load-2")
ENOUGH = 6


def test_it_goes_on_with_the_same_counters_when_the_server_is_back(tmp_path: Path) -> None:
    lab = LabServer(tmp_path, tls=False)
    lab.add_metadata([software_statement()])
    lab.add_user(*USERS)
    api_key = lab.add_api_key()
    before: list[Outcome] = []
    after: list[Outcome] = []
    stop = asyncio.Event()
    with ExitStack() as opened:
        first = opened.enter_context(started(tmp_path, "--insecure"))

        def observe(outcome: Outcome) -> None:
            if outcome.failure is None:
                (after if first.process.poll() is not None else before).append(outcome)
            elif outcome.failure.kind == REFUSED and not again:
                # Nobody listens any more: now it is started again, on the same port.
                again.append(opened.enter_context(started(tmp_path, "--insecure", "--port", str(first.port))))
            if len(before) == ENOUGH and first.process.poll() is None:
                first.process.send_signal(signal.SIGKILL)
                first.process.communicate()
            if len(after) == ENOUGH:
                stop.set()

        again: list[object] = []

        async def check() -> Generator:
            load = Generator(Endpoint.loopback(first.port), api_key=api_key)
            await load.enrol([Account(username, SimulatedPhone.in_software()) for username in USERS])
            async with asyncio.timeout(120):
                await load.run(Limits(seconds=None), stop=stop, observe=observe)
            return load

        load = asyncio.run(check())
    assert again
    assert len(before) >= ENOUGH
    assert len(after) >= ENOUGH
    assert {kind for _, kind in load.tally.errors} <= {LOST, REFUSED}
    assert load.tally.latencies.count == len(before) + len(after)
