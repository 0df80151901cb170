"""http-uaf-auth: full UAF authentications a second over HTTP (request + response, one worker, SQLite).

The floor, measured beside it turn by turn: two minimal POSTs on the same server plus one bare verification.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.measure import Row, rate, rate_of, row_of
from bench.minimal_server import MINIMAL_BODY, MINIMAL_HEAD
from bench.processes import cpu_seconds
from fidoloop.bridge.load.connection import Client, Connection, Endpoint
from fidoloop.bridge.load.flows import Account, enrol, log_in_by_uaf
from fidoloop.bridge.load.phone import SimulatedPhone, software_statement
from fidoloop.bridge.load.services import Services, ask
from fidoloop.lab import LabServer

CONNECTIONS = 16
"""So many phones at once, for the floor too: what a server is measured for is load, in which commits are shared."""
TURNS = 15
SECONDS = 0.5
Work = list[Callable[[], Awaitable[object]]]


class Turn(NamedTuple):
    """One turn: rates a second, and how much of one core the server (verifying: this process) took meanwhile."""

    full: float
    minimal: float
    verifications: float
    full_load: float
    minimal_load: float
    verify_load: float

    @property
    def pair(self) -> tuple[float, float]:
        """(value, floor)."""
        return self.full, 1 / (2 / self.minimal + 1 / self.verifications)

    @property
    def pair_of_cpu(self) -> tuple[float, float]:
        """The same, a second of the server's processor: what holds where others take turns on it."""
        full, minimal = self.full / self.full_load, self.minimal / self.minimal_load
        return full, 1 / (2 / minimal + self.verify_load / self.verifications)


async def loaded(pid: int, work: Work) -> tuple[float, float]:
    """Return the rate of `work`, and the share of one core that the server took."""
    cpu, started = cpu_seconds(pid), time.perf_counter()
    measured = await rate_of(work, SECONDS)
    return measured, (cpu_seconds(pid) - cpu) / (time.perf_counter() - started)


async def _measure(port: int, pid: int, usernames: Sequence[str], api_key: str) -> list[Turn]:
    endpoint = Endpoint.loopback(port)
    services = Services(endpoint.authority, api_key)
    accounts = [Account(username, SimulatedPhone.in_software()) for username in usernames]
    calls = [partial(ask, Client(endpoint)) for _ in accounts]
    for call, account in zip(calls, accounts, strict=True):
        await enrol(call, services, account)
    log_in = log_in_by_uaf(services)
    full: Work = [partial(log_in, call, account) for call, account in zip(calls, accounts, strict=True)]
    connections = [await Connection.open(endpoint) for _ in accounts]
    minimal: Work = [partial(each.post, MINIMAL_HEAD, MINIMAL_BODY) for each in connections]
    key = ec.generate_private_key(ec.SECP256R1())
    data, algorithm = os.urandom(160), ec.ECDSA(hashes.SHA256())
    signature, public_key = key.sign(data, algorithm), key.public_key()
    await rate_of(minimal, SECONDS)
    await rate_of(full, SECONDS)
    turns = []
    for _ in range(TURNS):
        full_rate, full_load = await loaded(pid, full)
        minimal_rate, minimal_load = await loaded(pid, minimal)
        cpu, started = time.process_time(), time.perf_counter()
        verifications = rate(lambda: public_key.verify(signature, data, algorithm), 0.2)
        verify_load = (time.process_time() - cpu) / (time.perf_counter() - started)
        turns.append(Turn(full_rate, minimal_rate, verifications, full_load, minimal_load, verify_load))
    for connection in connections:
        connection.close()
    return turns


def run() -> list[Row]:
    """Measure against a server process of its own."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as name:
        lab = LabServer(Path(name))
        lab.add_metadata([software_statement()])
        api_key = lab.add_api_key()
        usernames = [f"user-{number}" for number in range(CONNECTIONS)]
        for username in usernames:
            lab.add_user(username)
        command = [sys.executable, "-m", "bench.minimal_server", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
                    turns = runner.run(_measure(port, process.pid, usernames, api_key))
            finally:
                process.terminate()
    return [
        row_of("http-uaf-auth", [turn.pair for turn in turns], wanted=0.6),
        row_of("http-uaf-auth: by server CPU", [turn.pair_of_cpu for turn in turns], wanted=None),
        _percent("server CPU, log-ins", [turn.full_load for turn in turns]),
        _percent("server CPU, minimal POSTs", [turn.minimal_load for turn in turns]),
        Row("http-uaf-auth: minimal POST", round(statistics.median(turn.minimal for turn in turns), 1), "1/s"),
    ]


def _percent(name: str, shares: list[float]) -> Row:
    return Row(f"http-uaf-auth: {name}", round(100 * statistics.median(shares), 1), "% of a core")
