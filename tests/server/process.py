"""A real server in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-c", "from fidoloop.cli import run; run()", "server"]


@dataclass(frozen=True)
class Running:
    """A server process that listens."""

    process: subprocess.Popen[str]
    url: str
    port: int
    ca: Path | None
    lab: str = ""

    def stop(self) -> int:
        """Stop it as an operator does, and return its exit code."""
        self.process.terminate()
        remaining, _ = self.process.communicate(timeout=60)
        assert remaining == ""
        return self.process.returncode


@contextmanager
def started(home: Path, *options: str, log: Path | None = None, under: Sequence[str] = ()) -> Iterator[Running]:
    """Run `fidoloop server run` on a free port; standard error goes to `log`. It is ended where the test does not.

    `under` is a command that runs the one behind it in the same process, such as `prlimit`.
    """
    command = [*under, *COMMAND, "run", "--home", str(home), "--port", "0", "--json", *options]
    with (log or Path("/dev/null")).open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the server did not start"
        listening = json.loads(line)
        ca = listening["ca"] and Path(listening["ca"])
        yield Running(process, listening["url"], listening["port"], ca, listening.get("lab", ""))
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@contextmanager
def serving(home: Path, *options: str, log: Path | None = None) -> Iterator[tuple[str, Path | None]]:
    """Run a server as `started`, yield its URL and CA, and see that it stops well."""
    with started(home, *options, log=log) as running:
        yield running.url, running.ca
        assert running.stop() == 0


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one operator's command."""
    # --home belongs to the command, not to its group: after the words that name it.
    return subprocess.run([*COMMAND, *words, "--home", str(home)], capture_output=True, text=True, check=False)
