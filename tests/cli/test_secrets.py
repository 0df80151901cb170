"""A phone and a laptop at the command line: what they print, what the server logs, and what lies in their homes."""

import os
import re
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fidoloop.cli.private_files import write_private
from fidoloop.hsm.uri import parse_uri
from tests.cli.command import invoke, run
from tests.cli.test_phone import token_in
from tests.lab import SOFTHSM_PIN, Lab

FOR_EVERYBODY = {".pem"}
"""Certificates."""


def open_to_others(directory: Path) -> list[str]:
    """Return what others than the owner may read or write below a directory, itself included."""
    found = []
    for path in [directory, *directory.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077 and not path.is_symlink() and path.suffix not in FOR_EVERYBODY:
            found.append(f"{path.relative_to(directory)}: {mode:o}")
    return found


@pytest.fixture
def usual_umask() -> None:
    """What a login shell has: files are readable by everybody unless they say otherwise."""
    os.umask(0o022)


def test_neither_pin_nor_token_is_printed_or_logged_and_homes_are_closed(
    fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path, usual_umask: None
) -> None:
    home, server = tmp_path / "home", fidoloop_lab.server
    username = fidoloop_lab.new_user()
    code = server.enrol(username)
    keys = parse_uri(fidoloop_token).without_pin()
    common = ("--home", str(home))
    to_server = ("--ca", str(server.ca), "--server", server.url, "--yes")
    said, secrets = [], {SOFTHSM_PIN, "999999", fidoloop_lab.api_key.partition(".")[2]}

    registering = ("phone", "register", code, "--keys", keys, *to_server, *common)
    said.append(invoke(*registering, pin="999999"))
    assert said[-1].code != 0
    said.append(invoke(*registering, "--target-name", "mine", pin=SOFTHSM_PIN))
    assert said[-1].code == 0, said[-1].all
    (target,) = fidoloop_lab.laptop.targets(username)
    for pin in (SOFTHSM_PIN, "999999"):
        link = fidoloop_lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
        said.append(run("phone", "open", link.response, "--yes", "--json", *common, pin=pin))
        secrets.add(link.response)
    assert [done.code == 0 for done in said[-2:]] == [True, False]
    said.append(run("phone", "targets", *common, pin=SOFTHSM_PIN))

    secrets.add(token_in(code))
    told = "".join(done.all for done in said) + (server.home / "server.log").read_text("utf-8")
    assert {
        secret for secret in secrets if re.search(rf"(?<![0-9A-Za-z]){re.escape(secret)}(?![0-9A-Za-z])", told)
    } == set()
    assert open_to_others(home) == []


def test_pictures_of_tokens_are_for_their_owner_alone(tmp_path: Path, usual_umask: None) -> None:
    home, picture = tmp_path / "home", tmp_path / "enrol.png"
    base = ("--home", str(home))
    assert run("server", "user", "add", "alice", *base).code == 0
    picture.write_bytes(b"an older one, open to all")
    done = run("server", "enrol", "alice", "--base-url", "https://login.example", "--qr", str(picture), *base)
    assert done.code == 0, done.all
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    assert open_to_others(home) == []


def test_a_command_that_crashes_leaves_no_core(tmp_path: Path) -> None:
    crash = "import os, fidoloop.cli.main as m; m.app = os.abort; m.run()"
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    ended = subprocess.run([sys.executable, "-c", crash], cwd=tmp_path, check=False)
    assert ended.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(IsADirectoryError):
        write_private(place, b"secret")
    assert list(tmp_path.iterdir()) == [place]


def test_the_home_of_a_server_is_closed(fidoloop_lab: Lab) -> None:
    """What the tests themselves put there is left out; the server made the rest."""
    made = [
        found
        for found in open_to_others(fidoloop_lab.server.home)
        if not found.startswith((".:", "metadata", "policies", "server.log", "fidoloop.toml"))
    ]
    assert made == []
