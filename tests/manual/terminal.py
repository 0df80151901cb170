"""A shell at a terminal, and somebody who types into it."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PATIENCE_SECONDS: Final = 120.0


class Terminal:
    """An interactive bash on a terminal of its own; a context manager. What it has printed is in `screen`."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        """Start it in `directory`."""
        self._mine, theirs = pty.openpty()
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env={**environment, "TERM": "dumb", "PS1": "$ ", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = ""
        self._read_to = 0

    def enter(self, text: str) -> None:
        """Type `text` and Enter."""
        os.write(self._mine, f"{text}\n".encode())

    def expect(self, pattern: str, what: str) -> None:
        """Wait until what was printed since the last match has `pattern`.

        Raises:
            AssertionError: it never does; with the screen.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := re.compile(pattern).search(self.screen, self._read_to)) is None:
            ready = select.select([self._mine], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"not seen: {what}\non the screen:\n{self.screen}"
            self.screen += os.read(self._mine, 65_536).decode("utf-8", errors="replace").replace("\r", "")
        self._read_to = found.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up, and end what is left of the session: a server takes a hang-up for a wish to read its files anew."""
        os.close(self._mine)
        for process in self._session():
            with contextlib.suppress(ProcessLookupError):
                ended = os.pidfd_open(process)
                signal.pidfd_send_signal(ended, signal.SIGKILL if process == self._process.pid else signal.SIGTERM)
                select.select([ended], [], [], PATIENCE_SECONDS)
                os.close(ended)
        self._process.wait(timeout=PATIENCE_SECONDS)

    def _session(self) -> list[int]:
        """Return the processes that the shell and its jobs started (the sixth field of proc(5)'s stat)."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                session = int(stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()[3])
                if session == self._process.pid:
                    found.append(int(stat.parent.name))
        return found
