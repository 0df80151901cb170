import os
import subprocess
import sys
from pathlib import Path

import pytest

from fidoloop.authenticator.phone_file import COMMITS, PhoneFile

WRITE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("INSERT INTO t VALUES (1)")
"""
# SQLite's "dead man switch": whoever can lock this byte of the index takes itself for the file's only user.
LOCK_ALONE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as index:
    fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
"""

FORK = """
import os, sys, threading
from pathlib import Path
from fidoloop.authenticator.phone_file import PhoneFile
stop = threading.Event()
def open_and_close():
    while not stop.is_set():
        PhoneFile(Path(sys.argv[1])).close()
threads = [threading.Thread(target=open_and_close) for _ in range(2)]
for thread in threads:
    thread.start()
failed = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        PhoneFile(Path(sys.argv[1] + "-child")).close()
        os._exit(0)
    failed += os.waitpid(child, 0)[1]
stop.set()
sys.exit(failed)
"""


def run(script: str, path: Path | str) -> int:
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


def descriptors(path: Path) -> int:
    """How many descriptors of this process are of the index of the file at `path`."""
    return sum(os.path.realpath(f"/proc/self/fd/{name}") == f"{path}-shm" for name in os.listdir("/proc/self/fd"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    opened = PhoneFile(tmp_path / "phones" / "p.sqlite")
    opened.db.execute("CREATE TABLE t (n)")
    opened.close()
    return tmp_path / "phones" / "p.sqlite"


def test_the_index_changes_with_every_commit_and_with_nothing_else(path: Path) -> None:
    one, two = PhoneFile(path), PhoneFile(path)
    seen = [one.index[COMMITS]]
    two.db.execute("INSERT INTO t VALUES (1)")
    seen.append(one.index[COMMITS])
    assert run(WRITE, path) == 0
    seen.append(one.index[COMMITS])
    one.db.execute("INSERT INTO t VALUES (1)")
    seen.append(one.index[COMMITS])
    assert len(set(seen)) == 4
    assert one.db.execute("SELECT count(*) FROM t").fetchone() == (3,)
    two.db.execute("BEGIN IMMEDIATE")
    two.db.execute("INSERT INTO t VALUES (1)")
    two.db.execute("ROLLBACK")
    assert one.index[COMMITS] == two.index[COMMITS] == seen[-1]
    one.close()
    two.close()


def test_a_log_that_begins_anew_changes_the_index_too(path: Path) -> None:
    one, two = PhoneFile(path), PhoneFile(path)
    seen = set()
    for _ in range(5):
        two.db.execute("INSERT INTO t VALUES (1)")
        seen.add(one.index[COMMITS])
        two.db.execute("PRAGMA wal_checkpoint(RESTART)")
    assert len(seen) == 5
    one.close()
    two.close()


def test_closing_one_of_two_leaves_the_others_locks(path: Path) -> None:
    one, two = PhoneFile(path), PhoneFile(path)
    one.close()
    one.close()
    assert run(LOCK_ALONE, f"{path}-shm") != 0
    assert two.db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert two.index[COMMITS]
    two.close()


def test_closing_the_last_leaves_nothing_open(path: Path) -> None:
    before = descriptors(path)
    files = [PhoneFile(path) for _ in range(3)]
    assert descriptors(path) > before
    for file in files:
        file.close()
    assert descriptors(path) == before
    assert not Path(f"{path}-shm").exists()


def test_a_file_made_anew_in_the_same_place_has_an_index_of_its_own(path: Path) -> None:
    first = PhoneFile(path)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    second = PhoneFile(path)
    seen = first.index[COMMITS]
    second.db.execute("CREATE TABLE t (n)")
    assert first.index[COMMITS] == seen
    assert second.index[COMMITS] != seen
    second.close()
    first.close()


def test_the_file_and_its_directory_are_their_owners_alone(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_child_forked_while_others_open_files_opens_its_own(path: Path) -> None:
    assert run(FORK, path) == 0
