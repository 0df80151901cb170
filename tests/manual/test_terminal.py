"""Nothing outlives a terminal that was closed."""

import os
import re
from pathlib import Path

import pytest

from tests.cli.command import environment

from .terminal import Terminal


def test_what_runs_behind_a_closed_terminal_is_ended(tmp_path: Path) -> None:
    with Terminal(tmp_path, environment()) as terminal:
        terminal.enter("(trap '' HUP; exec sleep 600) & echo started $!.")
        terminal.expect(r"started [0-9]+\.", "the job's number")
        job = int(re.findall(r"started ([0-9]+)\.", terminal.screen)[-1])
        os.kill(job, 0)
    waited = Path(f"/proc/{job}/stat")
    assert not waited.exists() or waited.read_text("utf-8").rpartition(")")[2].split()[0] == "Z"


def test_what_is_never_seen_is_named_with_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.manual.terminal.PATIENCE_SECONDS", 1.0)
    with Terminal(tmp_path, environment()) as terminal:
        terminal.enter("echo hello")
        with pytest.raises(AssertionError, match=r"not seen: the moon[^@]*hello"):
            terminal.expect("moon", "the moon")
