"""Running targets in processes of their own."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from fuzz.targets import Target, target

HERE = Path(__file__).parent
CORPUS, REGRESSIONS = HERE / "corpus", HERE / "regressions"
BUILD = HERE.parent / "build" / "fuzz"
_MEMORY = "/dev/shm"  # noqa: S108 - folders with random names are made in it
SECONDS_PER_INPUT = 10
MEGABYTES = 1024
# Else the clock has a say: with a seed the inputs are the same each time, as far as what is fuzzed has no chance of its
# own, as signatures have.
_SAME = ("-reload=0", "-entropic_scale_per_exec_time=0")
_EXECUTIONS = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+)", re.MULTILINE)


class Outcome(NamedTuple):
    """How a run ended: what broke is at `crash`, None where nothing did."""

    name: str
    executions: int
    coverage: int
    crash: Path | None
    output: str


def inputs(name: str) -> list[Path]:
    """Return the committed inputs of a target: its corpus, and what once broke it."""
    return sorted(path for folder in (CORPUS / name, REGRESSIONS / name) for path in folder.glob("*"))


def write_seeds(name: str) -> Path:
    """Write what the target itself and the examples of the tests give, and return the folder."""
    folder = BUILD / "seeds" / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in target(name).seeds():
        (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    return folder


class Effort(NamedTuple):
    """How long a target is fuzzed: until `seconds` or `runs` (-1: any number) are over; by `seed`, 0 by chance."""

    seconds: int
    runs: int = -1
    seed: int = 0


class Run(NamedTuple):
    """A target being fuzzed, and the folder for its files, which libFuzzer does not let it remove."""

    name: str
    process: "subprocess.Popen[bytes]"
    scratch: Path


def start(name: str, effort: Effort) -> Run:
    """Fuzz a target; what is new is kept in build/fuzz/corpus, unless a seed says that each run begins alike."""
    (BUILD / "crashes").mkdir(parents=True, exist_ok=True)
    known = target(name)
    # In memory where there is such: a fuzzer has no time for disks.
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    scratch = Path(tempfile.mkdtemp(prefix="fidoloop-fuzz-", dir=memory))
    found = scratch / "found" if effort.seed else BUILD / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    folders = [str(found), *(str(one / name) for one in (CORPUS, REGRESSIONS) if (one / name).is_dir())]
    command = [
        sys.executable,
        "-m",
        "fuzz.fuzzer",
        name,
        f"-max_total_time={effort.seconds}",
        f"-runs={effort.runs}",
        f"-seed={effort.seed}",
        *_SAME,
        f"-max_len={known.MAX_BYTES}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-dict={_dictionary(name, known)}",
        f"-artifact_prefix={BUILD / 'crashes' / name}-",
        *folders,
    ]
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONHASHSEED": str(effort.seed or "random")}
    process = subprocess.Popen(
        command, cwd=HERE.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return Run(name, process, scratch)


def finish(run: Run) -> Outcome:
    """Wait for a run's end."""
    raw, _ = run.process.communicate()
    shutil.rmtree(run.scratch, ignore_errors=True)
    output = raw.decode("utf-8", "replace")
    counts = _EXECUTIONS.findall(output)
    executions, coverage = (int(number) for number in counts[-1]) if counts else (0, 0)
    written = re.search(r"Test unit written to (\S+)", output)
    crash = Path(written[1]) if written else None
    if run.process.returncode and crash is None:
        crash = Path(os.devnull)
    return Outcome(run.name, executions, coverage, crash, output)


def _dictionary(name: str, known: Target) -> Path:
    path = BUILD / f"{name}.dict"
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in known.DICTIONARY)
    path.write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")
    return path
