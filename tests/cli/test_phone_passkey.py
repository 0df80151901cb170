"""`fidoloop phone passkey`: keys in a real token, a real server over TLS."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.uri import parse_uri
from tests.cli.command import Done, invoke
from tests.lab import SOFTHSM_PIN, Lab


@dataclass
class Cli:
    """`fidoloop phone passkey` with a home of its own."""

    lab: Lab
    home: Path
    token: str

    def passkey(
        self, *arguments: str, code: int = Exit.OK, pin: str | None = SOFTHSM_PIN, api_key: str | None = None
    ) -> Done:
        options = ("--home", str(self.home), "--json")
        verb, *rest = arguments
        done = invoke("phone", "passkey", verb, *options, *rest, pin=pin, api_key=api_key)
        assert done.code == code, done.all
        return done

    def register(self, user: str, *more: str, code: int = Exit.OK, api_key: str | None = "") -> Done:
        phone = ("--keys", parse_uri(self.token).without_pin(), "--ca", str(self.lab.server.ca))
        return self.passkey(
            *("register", "--server", self.lab.server.url, "--user", user, *phone, *more),
            code=code,
            api_key=self.lab.api_key if api_key == "" else api_key,
        )

    def login(self, *more: str, code: int = Exit.OK) -> Done:
        return self.passkey("login", "--server", self.lab.server.url, *more, code=code)

    def ids(self) -> list[str]:
        return [row["id"] for row in self.passkey("list").json["passkeys"]]

    def keys_in_token(self) -> int:
        with open_key_store(self.token) as store:
            return len([one for one in store.list() if one.key_id.startswith(b"ctap2:")])


@pytest.fixture
def cli(fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path) -> Cli:
    return Cli(fidoloop_lab, tmp_path / "home", fidoloop_token)


def test_a_passkey_is_made_listed_used_and_deleted(cli: Cli) -> None:
    user = cli.lab.new_user()
    made = cli.register(user).json
    assert made["username"] == user
    assert made["rpId"] == "localhost"
    assert cli.ids() == [made["id"]]
    for more in ((), ("--user", user)):
        done = cli.login(*more).json
        assert done == {"username": user, "credentialId": made["id"], "userVerified": True}
    (row,) = invoke("server", "passkey", "list", "--user", user, "--home", str(cli.lab.server.home), "--json").json[
        "passkeys"
    ]
    assert (row["id"], row["attestation"], row["synchronised"]) == (made["id"], "basic", False)
    assert row["signCounter"] > 0
    assert cli.passkey("delete", "--", made["id"]).json["id"] == made["id"]
    assert cli.ids() == []
    assert "no passkey" in cli.login(code=Exit.REFUSED).err
    assert "no such passkey" in cli.passkey("delete", "--", made["id"], code=Exit.REFUSED).err


def test_what_is_refused_leaves_nothing_behind(cli: Cli) -> None:
    before = cli.keys_in_token()
    assert "401" in cli.register(cli.lab.new_user(), code=Exit.REFUSED, api_key=None).err
    assert not list((cli.home / "phone").glob("*"))
    assert "no such user" in cli.register("nobody", code=Exit.REFUSED).err
    user = cli.lab.new_user()
    cli.register(user)
    assert "already" in cli.register(user, code=Exit.REFUSED).err
    assert len(cli.ids()) == 1
    assert cli.keys_in_token() == before + 1
    assert cli.register(cli.lab.new_user(), "--deny", code=Exit.USER)
    assert cli.login("--deny", code=Exit.USER)
    assert cli.keys_in_token() == before + 1
    cli.passkey("delete", "--", cli.ids()[0])
    assert cli.keys_in_token() == before


def test_a_user_without_a_passkey_here_cannot_log_in(cli: Cli) -> None:
    cli.register(cli.lab.new_user())
    assert "no passkey" in cli.login("--user", cli.lab.new_user(), code=Exit.REFUSED).err
    cli.passkey("delete", "--", cli.ids()[0])


def test_a_revoked_passkey_is_refused_by_the_server(cli: Cli) -> None:
    made = cli.register(cli.lab.new_user()).json
    home = ("--home", str(cli.lab.server.home))
    assert invoke("server", "passkey", "revoke", *home, "--", made["id"]).code == Exit.OK
    assert "refused" in cli.login(code=Exit.REFUSED).err
    cli.passkey("delete", "--", made["id"])


def test_a_phone_that_asks_nobody_makes_none(cli: Cli) -> None:
    assert "presence" in cli.register(cli.lab.new_user(), "--uv", "auto", code=Exit.REFUSED).err


def test_there_must_be_a_phone(cli: Cli) -> None:
    for verb in ("list", "delete", "login"):
        more = {"delete": ("AAAA",), "login": ("--server", cli.lab.server.url)}.get(verb, ())
        assert "no phone is set up" in cli.passkey(verb, *more, code=Exit.USAGE).err


def test_a_phone_makes_no_passkey_in_another_key_store(cli: Cli, fidoloop_make_token: Callable[[], str]) -> None:
    user = cli.lab.new_user()
    cli.register(user)
    done = cli.register(user, "--keys", fidoloop_make_token(), code=Exit.USAGE)
    assert "another key store" in done.err
    assert len(cli.passkey("list").json["passkeys"]) == 1
