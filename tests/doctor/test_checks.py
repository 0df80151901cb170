"""Every check sees what is wrong on a machine that is wrong in just that, and tells what to do."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fidoloop.doctor import hardware, system
from fidoloop.doctor.checks import CHECKS, examine
from fidoloop.doctor.values import Finding, Machine, State
from fidoloop.hsm.errors import TokenAbsent
from fidoloop.hsm.piv.discovery import FoundCard
from fidoloop.softhsm import find_softhsm_module

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that has nothing."""
    (tmp_path / "root").mkdir()
    return Machine(tmp_path / "home", root=tmp_path / "root", environment={"HOME": str(tmp_path / "user")}, now=NOW)


def only(found: Finding | Iterator[Finding]) -> Finding:
    (one,) = [found] if isinstance(found, Finding) else list(found)
    return one


def put(machine: Machine, path: str, text: str = "") -> Path:
    file = machine.at(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="ascii")
    return file


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Take a path's rights away, as they are for somebody who is not root."""

    def forbid(path: Path) -> None:
        before = os.access
        monkeypatch.setattr(os, "access", lambda given, mode: Path(given) != path and before(given, mode))

    return forbid


def told(found: Finding, state: State, said: str) -> None:
    assert (found.state, bool(found.fix)) == (state, state is not State.OK)
    assert said in found.said


def test_an_old_python_is_broken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    told(only(system.check_python(machine)), State.OK, "Python 3")
    monkeypatch.setattr(system, "_LOWEST", (4, 0))
    told(only(system.check_python(machine)), State.BROKEN, "Python 3")


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("no-such-package>=1", "no-such-package is not installed"),
        ("typer>=9999", "is not >=9999"),
        ("no-such-package; extra == 'x'", ""),
        ("no-such-package; python_version < '3'", ""),
    ],
)
def test_a_package_that_is_missing_or_too_old_is_broken(
    requirement: str, said: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(only(system.check_packages(machine)), State.OK, "all that it needs")
    monkeypatch.setattr(system, "_requirements", lambda: ["typer>=0.1", requirement])
    told(only(system.check_packages(machine)), State.BROKEN if said else State.OK, said)


def test_a_home_that_others_may_read_is_broken(machine: Machine, forbidden: Callable[[Path], None]) -> None:
    told(only(system.check_home(machine)), State.OK, "is made when it is needed")
    machine.home.mkdir(mode=0o700)
    phone = machine.home / "phone" / "default.sqlite"
    phone.parent.mkdir(mode=0o700)
    phone.touch(mode=0o600)
    told(only(system.check_home(machine)), State.OK, "only yours")
    phone.chmod(0o644)
    told(only(system.check_home(machine)), State.NOTE, str(phone))
    machine.home.chmod(0o750)
    told(only(system.check_home(machine)), State.BROKEN, "others may read")
    forbidden(machine.home)
    told(only(system.check_home(machine)), State.BROKEN, "not yours to write")


def test_a_home_that_is_a_file_is_broken(machine: Machine) -> None:
    machine.home.touch()
    told(only(system.check_home(machine)), State.BROKEN, "is no directory")


def test_without_modules_nothing_works(machine: Machine) -> None:
    told(only(hardware.check_modules(machine)), State.BROKEN, "no PKCS#11 module is installed")


def test_a_module_that_does_not_load_is_told_and_where_all_are_so_it_is_broken(machine: Machine) -> None:
    put(machine, "usr/lib/softhsm/libsofthsm2.so", "no library")
    one, all_ = list(hardware.check_modules(machine))
    told(one, State.NOTE, "libsofthsm2.so")
    told(all_, State.BROKEN, "no PKCS#11 module works")


@pytest.mark.usefixtures("fidoloop_token")
def test_a_module_with_a_token_is_fine(machine: Machine) -> None:
    there = machine.at("usr/lib/softhsm/libsofthsm2.so")
    there.parent.mkdir(parents=True)
    there.symlink_to(find_softhsm_module())
    assert only(hardware.check_modules(machine)).state is State.OK


def test_softhsms_configuration(machine: Machine, forbidden: Callable[[Path], None]) -> None:
    told(only(hardware.check_softhsm(machine)), State.NOTE, "no configuration")
    file = put(machine, "etc/softhsm/softhsm2.conf", "log.level = ERROR\n")
    told(only(hardware.check_softhsm(machine)), State.BROKEN, "no directories.tokendir")
    tokens = machine.at("tokens")
    file.write_text(f"directories.tokendir = {tokens}\n", encoding="utf-8")
    told(only(hardware.check_softhsm(machine)), State.BROKEN, "is not there")
    tokens.mkdir()
    told(only(hardware.check_softhsm(machine)), State.OK, str(tokens))
    forbidden(tokens)
    told(only(hardware.check_softhsm(machine)), State.NOTE, "not yours to write")


@pytest.mark.parametrize(("named", "state"), [(True, State.BROKEN), (False, State.NOTE)])
def test_a_configuration_of_softhsm_that_cannot_be_read(named: bool, state: State, machine: Machine) -> None:
    file = machine.at("etc/softhsm/softhsm2.conf")
    file.mkdir(parents=True)
    environment = {"SOFTHSM2_CONF": str(file)} if named else {}
    found = only(hardware.check_softhsm(Machine(machine.home, root=machine.root, environment=environment)))
    told(found, state, "cannot be read")


def test_readers(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> list[FoundCard]:
        raise TokenAbsent("no pcscd")

    for find, said in (
        (nobody, "no pcscd"),
        (lambda: [], "has no reader"),
        (lambda: [FoundCard("R", None, "no card")], "R: no card"),
    ):
        monkeypatch.setattr(hardware, "find_cards", find)
        told(only(hardware.check_readers(machine)), State.NOTE, said)


@pytest.mark.parametrize("systemd", [False, True])
def test_a_pcscd_that_is_there_and_not_running_is_to_be_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, systemd: bool
) -> None:
    def nobody() -> list[FoundCard]:
        raise TokenAbsent("no pcscd")

    monkeypatch.setattr(hardware, "find_cards", nobody)
    if systemd:
        machine.at("run/systemd/system").mkdir(parents=True)
    assert "apt install pcscd" in only(hardware.check_readers(machine)).fix
    put(machine, "usr/sbin/pcscd")
    started = "systemctl start pcscd.socket" if systemd else "run pcscd as root"
    assert only(hardware.check_readers(machine)).fix == f"start it: {started}"


def test_a_tpm(machine: Machine, forbidden: Callable[[Path], None]) -> None:
    told(only(hardware.check_tpm(machine)), State.NOTE, "no TPM")
    device = put(machine, "dev/tpmrm0")
    told(only(hardware.check_tpm(machine)), State.NOTE, "without a PKCS#11 module")
    put(machine, "usr/lib/x/pkcs11/libtpm2_pkcs11.so")
    told(only(hardware.check_tpm(machine)), State.OK, "libtpm2_pkcs11.so")
    forbidden(device)
    told(only(hardware.check_tpm(machine)), State.NOTE, "not yours to use")


def test_a_port_that_is_taken(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        there = Machine(machine.home, port=port)
        told(only(system.check_port(there)), State.NOTE, str(port))
    told(only(system.check_port(there)), State.OK, "is free")


@contextmanager
def answering(date: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(404)
            if date:
                self.send_header("Date", date)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (0, State.OK, "as http"),
        (4, State.OK, "as http"),
        (10, State.NOTE, "10 s ahead of"),
        (-40, State.BROKEN, "40 s behind"),
        (None, State.NOTE, "does not say"),
    ],
)
def test_the_clock_is_held_against_a_server(seconds: int | None, state: State, said: str, machine: Machine) -> None:
    date = "" if seconds is None else format_datetime(NOW - timedelta(seconds=seconds), usegmt=True)
    with answering(date) as url:
        told(only(system.check_clock(Machine(machine.home, server=url, insecure=True, now=NOW))), state, said)


def test_a_server_that_was_named_must_answer(machine: Machine) -> None:
    told(only(system.check_clock(machine)), State.OK, "held against nobody's")
    gone = Machine(machine.home, server="http://127.0.0.1:1", insecure=True)
    told(only(system.check_clock(gone)), State.BROKEN, "127.0.0.1:1")


def test_a_radio(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    told(only(system.check_radio(machine)), State.NOTE, "no Bluetooth adapter")
    put(machine, "sys/class/bluetooth/hci0/type")
    told(only(system.check_radio(machine)), State.OK, "hci0")
    put(machine, "sys/class/rfkill/rfkill0/type", "bluetooth\n")
    put(machine, "sys/class/rfkill/rfkill0/soft", "1\n")
    told(only(system.check_radio(machine)), State.NOTE, "turned off")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    told(only(system.check_radio(machine)), State.NOTE, "needs an extra")


def test_a_camera(machine: Machine, forbidden: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    told(only(system.check_camera(machine)), State.NOTE, "no camera")
    device = put(machine, "dev/video0")
    told(only(system.check_camera(machine)), State.OK, "video0")
    forbidden(device)
    told(only(system.check_camera(machine)), State.NOTE, "not yours to use")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    told(only(system.check_camera(machine)), State.NOTE, "needs an extra")


def test_a_browser(machine: Machine) -> None:
    told(only(system.check_browser(machine)), State.NOTE, "no Chromium")
    put(machine, "usr/bin/chromium")
    told(only(system.check_browser(machine)), State.OK, "chromium")


def test_every_check_tells_something_under_its_own_name(machine: Machine) -> None:
    begun: list[str] = []
    found = examine(machine, begun.append)
    assert begun == list(CHECKS)
    assert {one.check for one in found} == set(CHECKS)
    assert all(bool(one.fix) is (one.state is not State.OK) for one in found)


@pytest.mark.parametrize(
    ("address", "state", "said"),
    [
        ("127.0.0.1", State.OK, "localhost is 127.0.0.1"),
        ("::1", State.OK, "localhost is ::1"),
        ("192.0.2.1", State.BROKEN, "localhost is 192.0.2.1"),
    ],
)
def test_localhost_is_this_machine(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, address: str, state: State, said: str
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    finding = system.check_localhost(machine)
    assert (finding.state, finding.said) == (state, said)


def test_a_machine_that_does_not_know_localhost_is_told_how_to(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one is that has no /etc/hosts."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    finding = system.check_localhost(machine)
    assert finding.state is State.BROKEN
    assert "/etc/hosts" in finding.fix
