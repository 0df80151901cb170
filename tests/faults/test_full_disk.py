"""The disk is full: writes are refused and say so, nothing is half-written, and all goes on when there is room."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fidoloop.authenticator.models import Form
from fidoloop.bridge.profile import Profile
from fidoloop.cli.advice import advice_for
from fidoloop.cli.exits import exit_for
from fidoloop.hsm.uri import parse_uri
from fidoloop.protocol.lab import LAB_FACET_ID
from tests.faults.conftest import MeasuredBy
from tests.faults.crowd import OK, Crowd
from tests.faults.invariants import assert_kept
from tests.faults.place import Place, make_place
from tests.lab import Lab
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


def test_a_phone_whose_disk_is_full_says_so_and_goes_on_when_it_is_not(fidoloop_lab: Lab, small_disk: Path) -> None:
    profile = Profile(small_disk / "phone.sqlite")
    profile.create(
        keys_uri=parse_uri("pkcs11:").without_pin(),
        verification="pin",
        ca=str(fidoloop_lab.server.ca),
        facet_id=LAB_FACET_ID,
        form=Form.FIRST_FACTOR,
    )
    phone = fidoloop_lab.phone(profile=profile)
    username, other = fidoloop_lab.new_user(), fidoloop_lab.new_user()
    phone.register(fidoloop_lab.server.enrol(username), server=fidoloop_lab.server.url, target_name="first")
    keys = phone.accounts()
    code = fidoloop_lab.server.enrol(other)
    with filled(small_disk):
        with pytest.raises((OSError, sqlite3.OperationalError), match=r"No space|full") as refused:
            phone.register(code, server=fidoloop_lab.server.url, target_name="second")
        assert exit_for(refused.value) is not None
        assert "make room" in advice_for(refused.value)
        assert phone.accounts() == keys
    # It was found before the token was redeemed.
    phone.register(code, server=fidoloop_lab.server.url, target_name="second")
    assert {account.username for account in phone.accounts()} == {username, other}
    assert phone.login(fidoloop_lab.server.url).status == OK
