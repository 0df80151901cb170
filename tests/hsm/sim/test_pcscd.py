"""A pcscd of one's own, beside others and without a trace."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fidoloop import pcscd
from fidoloop.hsm.errors import ModuleError
from fidoloop.pcscd import SOCKET_NAME, PrivatePcscd


def readers(daemon: PrivatePcscd) -> str:
    """What OpenSC's tool, in a process of its own, finds there."""
    return subprocess.run(
        ["opensc-tool", "-l"], capture_output=True, text=True, check=False, timeout=60, env=daemon.environment()
    ).stdout


def test_several_run_side_by_side() -> None:
    with PrivatePcscd() as first, PrivatePcscd() as second:
        assert first.socket != second.socket
        assert abs(first.port - second.port) >= len(first.readers)
        for daemon in (first, second):
            assert all(name in readers(daemon) for name in daemon.readers)


def test_it_is_restarted_at_its_address() -> None:
    with PrivatePcscd() as daemon:
        address = (daemon.socket, daemon.port)
        daemon.stop(kill=True)
        assert "Virtual PCD" not in readers(daemon)
        daemon.start()
        assert (daemon.socket, daemon.port) == address
        assert "Virtual PCD" in readers(daemon)
        with pytest.raises(RuntimeError):
            daemon.start()


def test_nothing_of_it_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not in tmp_path, which may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="fidoloop-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        with PrivatePcscd() as daemon:
            assert daemon.socket.is_relative_to(name)
        assert list(Path(name).iterdir()) == []


def test_it_runs_in_a_directory_that_was_there_before() -> None:
    directory = Path(tempfile.mkdtemp(prefix="fidoloop-"))
    with PrivatePcscd(directory) as daemon:
        assert daemon.socket == directory / SOCKET_NAME
        assert "Virtual PCD" in readers(daemon)
    assert not directory.exists()


def test_taken_ports_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with PrivatePcscd() as first:
        monkeypatch.setattr(pcscd, "_PORTS", range(first.port, first.port + 1))
        monkeypatch.setattr(pcscd, "_ATTEMPTS", 1)
        with pytest.raises(ModuleError, match="no free ports"):
            PrivatePcscd()
        assert "Virtual PCD" in readers(first)


def test_ports_taken_at_the_last_moment_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with PrivatePcscd() as first:
        monkeypatch.setattr(pcscd, "_PORTS", range(first.port, first.port + 1))
        monkeypatch.setattr(pcscd, "_ATTEMPTS", 1)
        monkeypatch.setattr(pcscd, "_free", lambda _port: True)
        with pytest.raises(ModuleError, match="no free ports"):
            PrivatePcscd()


WITHOUT_MOUNTS = """
import subprocess
from fidoloop import pcscd
pcscd._apart = list
with pcscd.PrivatePcscd() as daemon:
    print(subprocess.run(["opensc-tool", "-l"], capture_output=True, text=True, env=daemon.environment()).stdout)
"""


def test_without_mounts_of_its_own_it_runs_too() -> None:
    # The machine's /run is none of this test's business either.
    script = 'mount -t tmpfs tmpfs /run && exec "$0" -c "$1"'
    command = [*pcscd._apart(), "sh", "-c", script, sys.executable, WITHOUT_MOUNTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Virtual PCD" in done.stdout


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcscd, "_DRIVERS", ("/nowhere",))
    with pytest.raises(ModuleError, match="vsmartcard-vpcd"):
        PrivatePcscd()
