"""`fidoloop phone targets, credentials, modify-target, delete-target` against a real server."""

from pathlib import Path

import pytest

from fidoloop.bridge.profile import Account, Profile
from fidoloop.cli.exits import Exit
from fidoloop.hsm.uri import parse_uri
from tests.bridge.stub import Reply, stub
from tests.cli.test_phone import Cli
from tests.lab import Lab


@pytest.fixture
def cli(fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path) -> Cli:
    return Cli(fidoloop_lab, tmp_path / "home", parse_uri(fidoloop_token).without_pin(), [])


def test_targets_are_shown_as_their_server_knows_them(cli: Cli) -> None:
    first, second = cli.enrolled(), cli.enrolled()
    (row, other) = sorted(cli.phone("targets", "--json").json["targets"], key=lambda row: str(row["username"]))
    assert {row["username"], other["username"]} == {first, second}
    assert row["id"] == cli.lab.laptop.targets(row["username"])[0].id
    assert (row["name"], row["dispatcher"], row["known"]) == (f"{row['username']}'s phone", None, True)
    assert first in cli.phone("targets").out


def test_a_target_is_renamed_and_given_another_dispatcher(cli: Cli) -> None:
    username = cli.enrolled()
    cli.phone("modify-target", "--user", username, "--target-name", "renamed", "--dispatcher", "link")
    (entry,) = cli.lab.laptop.targets(username)
    assert (entry.name, entry.dispatcher) == ("renamed", "link")
    (row,) = cli.phone("targets", "--json").json["targets"]
    assert (row["name"], row["dispatcher"]) == ("renamed", "link")
    (account,) = cli.phone("list", "--json").json["accounts"]
    assert account["dispatchTargetName"] == "renamed"
    refused = cli.phone("modify-target", "--user", username, "--dispatcher", "pigeon", code=Exit.REFUSED)
    assert "dispatcher is not configured" in refused.err
    cli.phone("modify-target", "--user", username, code=Exit.USAGE)
    cli.phone("modify-target", "--user", "nobody", "--target-name", "x", code=Exit.USAGE)


def test_a_deleted_target_is_gone_on_both_sides_and_the_keys_stay(cli: Cli) -> None:
    username = cli.enrolled()
    assert "--yes" in cli.phone("delete-target", "--user", username, code=Exit.USER).err
    assert len(cli.lab.laptop.targets(username)) == 1
    cli.phone("delete-target", "--user", username, "--yes")
    assert cli.lab.laptop.targets(username) == ()
    assert cli.phone("targets", "--json").json["targets"] == []
    assert cli.phone("delete-target", "--user", username, "--yes", code=Exit.REFUSED).err
    listed = cli.phone("list", "--json").json
    assert (listed["accounts"][0]["dispatchTargetId"], len(listed["registrations"])) == (None, 1)
    # A token that is not encrypted still logs in.
    link = cli.lab.laptop.dispatch(username=username, dispatcher="link").response
    assert cli.phone("scan", link, "--yes", "--json").json["statusCode"] == 1200


def test_keys_are_shown_by_who_knows_them(cli: Cli) -> None:
    username = cli.enrolled()
    (row,) = cli.phone("credentials", "--json").json["credentials"]
    assert (row["username"], row["onThisPhone"], row["atServer"]) == (username, True, True)
    assert row["keyID"] in cli.phone("credentials").out


def test_a_target_that_its_server_forgot_is_said_to_be_gone(cli: Cli) -> None:
    username = cli.enrolled()
    profile = Profile(cli.home / "phone" / "phone.sqlite")
    (account,) = profile.accounts()
    changed = Account(**{**{name: getattr(account, name) for name in account.__struct_fields__}, "target_id": "gone"})
    profile.save_account(changed)
    profile.close()
    done = cli.phone("targets", "--json", code=Exit.REFUSED)
    assert '"known": false' in done.out
    assert "enrol again" in done.err
    assert username in done.err
    cli.phone("modify-target", "--user", username, "--target-name", "x", code=Exit.REFUSED)


def test_one_server_that_is_down_hides_no_other(cli: Cli) -> None:
    username = cli.enrolled()
    with stub(lambda _: Reply()) as down:
        pass
    profile = Profile(cli.home / "phone" / "phone.sqlite")
    (account,) = profile.accounts()
    members = {name: getattr(account, name) for name in account.__struct_fields__}
    profile.save_account(Account(**{**members, "base_url": down.url}))
    profile.close()
    done = cli.phone("targets", "--json", "--insecure", code=Exit.NETWORK)
    assert '"known": true' in done.out
    assert '"known": false' in done.out
    assert username in done.err
