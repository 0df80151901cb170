"""The disk is full: writes are refused and say so, nothing is half-written, and all goes on when there is room."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import MeasuredBy
from tests.faults.crowd import Crowd
from tests.faults.invariants import assert_kept
from tests.faults.place import Place, make_place
from tests.server.process import started

SIZE = "24m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root may mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(where)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    yield where
    subprocess.run(["umount", "--lazy", str(where)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Have no byte free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        os.fsync(file.fileno())
    try:
        yield
    finally:
        ballast.unlink()


def test_a_server_whose_disk_is_full_says_so_and_goes_on_when_it_is_not(
    small_disk: Path, tmp_path: Path, measured: MeasuredBy
) -> None:
    home = small_disk / "home"
    home.mkdir()
    place: Place = make_place(home, settings="insecure = true\n")
    log = tmp_path / "log"
    with started(home, "--workers", "2", log=log) as running:
        crowd = Crowd(place, [running.url])

        async def scenario() -> None:
            async with crowd.at_work():
                for _ in range(3):
                    await crowd.all_get_round(2)
                    with filled(small_disk):
                        await crowd.all_fail()
                    measured("until every phone got an answer", await crowd.all_get_round(2))

        asyncio.run(scenario())
        assert not [kind for kind in crowd.ledger.answers if not kind.endswith((": answered", ": 503"))]
        assert_kept(place, crowd)
        assert running.stop() == 0
    assert "database or disk is full" in log.read_text()
    assert "Traceback" not in log.read_text()
