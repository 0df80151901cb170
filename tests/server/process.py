"""A real server in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-c", "from fidoloop.cli import run; run()", "server"]


@contextmanager
def serving(home: Path, *options: str, log: Path | None = None) -> Iterator[tuple[str, Path | None]]:
    """Run `fidoloop server run` on a free port and yield its URL and CA; standard error goes to `log`."""
    command = [*COMMAND, "run", "--home", str(home), "--port", "0", "--json", *options]
    with (log or Path("/dev/null")).open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, "the server did not start"
            listening = json.loads(line)
            yield listening["url"], listening["ca"] and Path(listening["ca"])
        finally:
            process.terminate()
            remaining, _ = process.communicate(timeout=30)
    assert (process.returncode, remaining) == (0, "")


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one operator's command."""
    # --home belongs to the command, not to its group: after the words that name it.
    return subprocess.run([*COMMAND, *words, "--home", str(home)], capture_output=True, text=True, check=False)
