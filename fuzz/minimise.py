"""`python -m fuzz.minimise [TARGET…]`: makes the committed corpus anew of the seeds and of what runs have found.

Of all inputs, the smallest first, those are kept that reach a step from one line to another that none before reached.
"""

import shutil
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from fuzz import running
from fuzz.targets import NAMES, Target, target

MAX_BYTES_PER_TARGET = 24 << 10
Step = tuple[str, int, int]


class _Steps:
    """The steps through the project's own lines that a call takes."""

    def __init__(self) -> None:
        self.found: set[Step] = set()
        self._last: dict[int, int] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> "_Steps | None":
        name = frame.f_code.co_filename
        if "fidoloop" not in name:
            return None
        if event == "line":
            self.found.add((name, self._last.get(id(frame), 0), frame.f_lineno))
            self._last[id(frame)] = frame.f_lineno
        elif event in ("call", "return"):
            self._last.pop(id(frame), None)
        return self


def steps(of: Target, data: bytes) -> set[Step]:
    """Return the steps that checking `data` takes."""
    seen = _Steps()
    threading.settrace(seen)
    sys.settrace(seen)
    try:
        of.check(data)
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return seen.found


def minimise(name: str) -> None:
    """Replace a target's corpus."""
    folders = (running.write_seeds(name), running.BUILD / "corpus" / name, running.CORPUS / name)
    chosen = _chosen(target(name), {path.read_bytes(): path for folder in folders for path in folder.glob("*")})
    contents = [(path.name[:16], path.read_bytes()) for path in chosen]
    kept = running.CORPUS / name
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for own, content in contents:
        (kept / own).write_bytes(content)
    print(f"{name}: {len(contents)} inputs, {sum(len(content) for _, content in contents):,} bytes")


def _chosen(of: Target, inputs: dict[bytes, Path]) -> Iterable[Path]:
    reached: set[Step] = set()
    size = 0
    of.check(b"")  # what is done once is not counted for the first
    for data in sorted(inputs, key=len):
        if len(data) > of.MAX_BYTES or size + len(data) > MAX_BYTES_PER_TARGET:
            continue
        new = steps(of, data) - reached
        if new:
            reached |= new
            size += len(data)
            yield inputs[data]


if __name__ == "__main__":
    for one in sys.argv[1:] or NAMES:
        minimise(one)
