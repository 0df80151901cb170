"""`fidoloop phone pending`: lost pushes, and what was cut off."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fidoloop.bridge.journal import Journal
from fidoloop.cli.exits import Exit
from fidoloop.hsm.uri import parse_uri
from tests.cli.test_phone import Cli
from tests.lab import SOFTHSM_PIN, Lab

KILLED = Path(__file__).parents[1] / "loop" / "killed_phone.py"


@pytest.fixture
def cli(fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path) -> Cli:
    return Cli(fidoloop_lab, tmp_path / "home", parse_uri(fidoloop_token).without_pin(), [])


def sent(cli: Cli, username: str) -> str:
    """Dispatch a log-in whose code nobody scans, and return its session."""
    (target,) = cli.lab.laptop.targets(username)
    return cli.lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link").session_id


def status(cli: Cli, session_id: str) -> str:
    return cli.lab.laptop.status(session_id).status


def test_what_never_arrived_is_listed_then_carried_out(cli: Cli) -> None:
    first, second = cli.enrolled(), cli.enrolled()
    sessions = [sent(cli, first), sent(cli, second)]
    listed = cli.phone("pending", "--list", "--json").json
    assert sorted(each["username"] for each in listed["waiting"]) == sorted((first, second))
    assert {each["operation"] for each in listed["waiting"]} == {"authentication"}
    assert listed["done"] == []
    assert f"authentication of {first}" in cli.phone("pending", "--list").out
    assert [status(cli, each) for each in sessions] == ["tokenCreated"] * 2
    done = cli.phone("pending", "--yes", "--json").json
    assert sorted(each["username"] for each in done["done"]) == sorted((first, second))
    assert [status(cli, each) for each in sessions] == ["succeeded"] * 2
    assert "nothing waits" in cli.phone("pending", "--yes").out
    assert cli.phone("pending", "--list", "--json").json == {"waiting": [], "done": []}


def test_without_a_yes_nothing_is_redeemed(cli: Cli) -> None:
    session = sent(cli, cli.enrolled())
    done = cli.phone("pending", code=Exit.USER)
    assert "--yes" in done.err
    assert status(cli, session) == "tokenCreated"


def test_a_number_that_is_asked_for_is_answered_here_too(cli: Cli) -> None:
    username = cli.enrolled()
    (target,) = cli.lab.laptop.targets(username)
    information = {"channelLinking": {"mode": "number"}}
    dispatched = cli.lab.laptop.dispatch(
        username=username, target_id=target.id, dispatcher="link", information=information
    )
    assert dispatched.linking is not None
    cli.phone("pending", "--yes", "--number", dispatched.linking.content)
    assert status(cli, dispatched.session_id) == "succeeded"


def test_what_was_cut_off_is_finished_first_and_by_every_command_that_takes_tokens(
    cli: Cli, fidoloop_token: str
) -> None:
    username = cli.enrolled()
    profile = cli.home / "phone" / "phone.sqlite"
    for command in (("pending",), ("scan",)):
        (target,) = cli.lab.laptop.targets(username)
        cut = cli.lab.laptop.dispatch(username=username, target_id=target.id, dispatcher="link")
        told = {
            "profile": str(profile),
            "token": fidoloop_token,
            "step": "redeemed",
            "operation": "authentication",
            "text": cut.response,
            "verification": "pin",
            "pin": SOFTHSM_PIN,
        }
        done = subprocess.run([sys.executable, str(KILLED), json.dumps(told)], check=False, capture_output=True)
        assert done.returncode == -signal.SIGKILL
        more = (cli.dispatched(username),) if command == ("scan",) else ()
        said = cli.phone(*command, *more, "--yes")
        assert "cut off: authentication" in said.err
        assert status(cli, cut.session_id) == "succeeded"
        assert not Journal(profile.with_suffix(".operations"))


def test_one_account_that_fails_hides_no_other(cli: Cli) -> None:
    first, second = cli.enrolled(), cli.enrolled()
    session = sent(cli, second)
    cli.phone("delete-target", "--user", first, "--yes")
    cli.phone("pending", "--yes")
    assert status(cli, session) == "succeeded"
