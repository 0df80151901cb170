"""The journal of operations under way: what a killed process leaves, and what a living one keeps to itself."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fidoloop.bridge.journal import Journal

BEGIN = """
import sys
from pathlib import Path
from fidoloop.bridge.journal import Journal
entry = Journal(Path(sys.argv[1])).begin("payload")
entry.note(step="redeemed", uaf_request="request")
print("ready", flush=True)
sys.stdin.read()
"""


def left(journal: Journal) -> list[tuple[str, str, str]]:
    records = [entry.record for entry in journal.left_over()]
    assert all(0 < record.begun <= time.time() * 1000 for record in records)
    return [(record.payload, record.step, record.uaf_request) for record in records]


def test_what_is_under_way_is_not_left_over_until_its_process_is_gone(tmp_path: Path) -> None:
    directory = tmp_path / "operations"
    journal = Journal(directory)
    assert not journal
    with subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert journal
        assert left(journal) == []
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert left(journal) == [("payload", "redeemed", "request")]
    assert left(journal) == [("payload", "redeemed", "request")], "it stays until it is forgotten"
    for entry in journal.left_over():
        entry.forget()
    assert not journal


def test_an_operation_is_claimed_by_one_of_two(tmp_path: Path) -> None:
    with Journal(tmp_path / "o").begin("payload"):
        assert left(Journal(tmp_path / "o")) == []
    first, second = Journal(tmp_path / "o").left_over(), Journal(tmp_path / "o").left_over()
    assert next(first).record.payload == "payload"
    with pytest.raises(StopIteration):
        next(second)


def test_a_step_that_was_half_written_counts_as_not_taken(tmp_path: Path) -> None:
    with Journal(tmp_path / "o").begin("payload") as entry:
        entry.note(step="redeemed", uaf_request="request")
    (path,) = (tmp_path / "o").iterdir()
    path.write_bytes(path.read_bytes() + b'{"payload":"payload","step":"sig')
    assert left(Journal(tmp_path / "o")) == [("payload", "redeemed", "request")]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\n", b'{"step":"x"}\n', b"null\n"])
def test_a_file_that_holds_no_operation_is_swept_away(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "x").write_bytes(content)
    assert left(Journal(tmp_path / "o")) == []
    assert list((tmp_path / "o").iterdir()) == []


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    with Journal(tmp_path / "o").begin("payload"):
        (path,) = (tmp_path / "o").iterdir()
        assert (tmp_path / "o").stat().st_mode & 0o777 == 0o700
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_for_which_there_is_no_room_is_not_there_at_all(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with journal.begin("payload") as entry:
        (path,) = (tmp_path / "journal").iterdir()
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        try:
            with pytest.raises(OSError, match="No space"):
                entry.note(step="redeemed")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.stat().st_size == size
        entry.note(step="signed")
    (left,) = journal.left_over()
    assert left.record.step == "signed"
