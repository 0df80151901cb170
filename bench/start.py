"""start-server: `fidoloop server run` from nothing to its first answer; start-help: `fidoloop --help`.

Each in turns with an interpreter that imports starlette and one that does nothing, by the clock and by processor time,
which others on the machine disturb less.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.measure import Row

TURNS = 9
SERVER_LIMIT, HELP_LIMIT = 1.0, 0.3
_FIDOLOOP = str(Path(sys.executable).with_name("fidoloop"))


class Spent(NamedTuple):
    """Seconds of one start."""

    clock: float
    cpu: float


def run() -> list[Row]:
    """Measure in a home that has been used before."""
    with tempfile.TemporaryDirectory(prefix="fidoloop-bench-") as home:
        starts: dict[str, Callable[[], None]] = {
            "server": lambda: _serve(home),
            "help": lambda: _call(_FIDOLOOP, "--help"),
            "starlette": lambda: _call(sys.executable, "-c", "import starlette"),
            "python": lambda: _call(sys.executable, "-c", "pass"),
        }
        for start in starts.values():
            start()
        turns = [{name: _spent(start) for name, start in starts.items()} for _ in range(TURNS)]
    rows = []
    for name, limit in (("server", SERVER_LIMIT), ("help", HELP_LIMIT)):
        rows += [
            Row(f"start-{name}", _median([turn[name].clock for turn in turns]), "s", limit=limit),
            Row(f"start-{name}: processor time", _median([turn[name].cpu for turn in turns]), "s"),
            Row(
                f"start-{name}: against import starlette",
                _median([turn[name].clock / turn["starlette"].clock for turn in turns]),
                "x",
            ),
        ]
    return [*rows, Row("start-python", _median([turn["python"].clock for turn in turns]), "s")]


def _spent(start: Callable[[], None]) -> Spent:
    cpu, clock = _children_cpu(), time.perf_counter()
    start()
    return Spent(time.perf_counter() - clock, _children_cpu() - cpu)


def _children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _call(*command: str) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _serve(home: str) -> None:
    """Start the server, have one request answered, and take its time until then: it is killed, not stopped."""
    command = [_FIDOLOOP, "server", "run", "--home", home, "--insecure", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        connection = http.client.HTTPConnection("127.0.0.1", json.loads(process.stdout.readline())["port"])
        connection.request("GET", "/healthz")
        answered = connection.getresponse().status == http.client.OK
        connection.close()
        process.kill()
    if not answered:
        raise RuntimeError("the server is not well")


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 3)
