"""Peers that npm has: installed from bench/peers' lock file when they are wanted, run in a node process."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_PEERS = Path(__file__).with_name("peers")
_STAMP = _PEERS / "node_modules" / ".stamp"


class NotInstalledError(RuntimeError):
    """node or npm is not there, or npm could not install what the lock file names."""


class Peer:
    """A node process that measures what it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Take the process, which has been given what to verify."""
        self._process = process

    def rate(self, what: str, seconds: float) -> float:
        """Return how often a second `what` ("library" or "bare") runs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"seconds": seconds, "what": what}) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def peer(script: str, given: Mapping[str, object]) -> Iterator[Peer]:
    """Run a script of bench/peers with what it is to verify. Raises NotInstalledError."""
    _install()
    with subprocess.Popen(
        ["node", script], cwd=_PEERS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(given) + "\n")
        yield Peer(process)
        process.stdin.close()


def _install() -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotInstalledError("node and npm are not there")
    wanted = hashlib.sha256((_PEERS / "package-lock.json").read_bytes()).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    done = subprocess.run(["npm", "ci"], cwd=_PEERS, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotInstalledError(f"npm ci failed: {done.stderr.strip().splitlines()[-1:]}")
    _STAMP.write_text(wanted)
