"""What the kernel tells of processes (proc(5)): processor time, resident memory, children; and servers to look at."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process (fields 14 and 15 of its stat, after the name in brackets)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text("ascii").split()]
    return found


def family_cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all below it that still run."""
    return sum(cpu_seconds(each) for each in family(pid))


def resident_bytes(pid: int) -> int:
    """Return the anonymous resident memory of a process: what it made, without the files that it maps."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel tells no RssAnon")


def idle_seconds() -> float:
    """Return how long the processors have been idle, all together, since the machine started."""
    fields = Path("/proc/stat").read_text("ascii").splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / _TICKS


class Serving(NamedTuple):
    """A server process and the port of the loopback that it listens on, plain http."""

    pid: int
    port: int


@contextmanager
def serving(home: Path, *, workers: int = 1) -> Iterator[Serving]:
    """Run `fidoloop server run` over a home."""
    command = [sys.executable, "-m", "fidoloop", "server", "run", "--home", str(home), "--insecure", "--port", "0"]
    with (
        (home / "log").open("a") as log,
        subprocess.Popen(
            [*command, "--json", "--workers", str(workers)], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            yield Serving(process.pid, json.loads(process.stdout.readline())["port"])
        finally:
            process.terminate()
