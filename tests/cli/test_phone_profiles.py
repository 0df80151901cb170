"""Several phones in one home, as their owner meets them."""

from fidoloop.bridge.profile import Profile
from fidoloop.cli.exits import Exit
from tests.cli.test_phone import Cli, cli

__all__ = ["cli"]


def test_a_second_phone_of_the_same_account_needs_nothing_but_a_name(cli: Cli) -> None:
    username = cli.lab.new_user()
    for options in ((), ("--name", "tablet")):
        cli.register(cli.lab.server.enrol(username), *options)
    targets = {entry.name: entry.id for entry in cli.lab.laptop.targets(username)}
    assert sorted(targets) == ["phone", "tablet"]
    for name, target_id in targets.items():
        dispatched = cli.lab.laptop.dispatch(username=username, target_id=target_id, dispatcher="link")
        cli.phone("scan", dispatched.response, "--yes", "--name", name)
        assert cli.lab.laptop.status(dispatched.session_id).status == "succeeded"


def test_phones_are_listed_with_their_accounts(cli: Cli) -> None:
    assert cli.phone("profiles", "--json").json == {"phones": []}
    assert "fidoloop phone register" in cli.phone("profiles").out
    first = cli.enrolled()
    cli.register(cli.lab.server.enrol(first), "--name", "tablet")
    listed = cli.phone("profiles", "--json").json["phones"]
    account = {"username": first, "server": cli.lab.server.url}
    assert [(phone["name"], phone["accounts"]) for phone in listed] == [("phone", [account]), ("tablet", [account])]
    assert {phone["keys"] for phone in listed} == {cli.keys}
    assert first in cli.phone("profiles").out


def test_a_file_in_which_no_phone_was_set_up_is_none(cli: Cli) -> None:
    path = cli.home / "phone" / "empty.sqlite"
    path.parent.mkdir(parents=True)
    Profile(path).close()
    assert cli.phone("profiles", "--json").json == {"phones": []}


def test_a_name_that_no_phone_has_is_answered_by_those_that_some_have(cli: Cli) -> None:
    cli.enrolled()
    done = cli.phone("list", "--name", "tabelt", code=Exit.USAGE)
    assert "with --name there are: phone" in done.err
