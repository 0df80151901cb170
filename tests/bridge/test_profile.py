"""The phone's profile file."""

import sqlite3
import stat
from pathlib import Path

import pytest

from fidoloop.authenticator.models import Form
from fidoloop.bridge.profile import Account, Profile, ProfileMissingError
from fidoloop.protocol.lab import LAB_FACET_ID

ALICE = Account("https://a.example", "alice", "https://a.example/facets", "id", "phone", b"\x01", b"\x02", "thumb")


def opened(path: Path) -> Profile:
    profile = Profile(path)
    profile.create(keys_uri="pkcs11:token=lab", verification="pin", ca=None)
    return profile


def test_a_profile_is_for_its_owner_only_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "state" / "phone.sqlite"
    profile = Profile(path)
    made = profile.create(keys_uri="pkcs11:token=lab", verification="prompt", ca="/ca.pem")
    profile.save_account(ALICE)
    profile.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = Profile(path)
    assert again.settings() == made
    assert (made.keys_uri, made.verification, made.ca) == ("pkcs11:token=lab", "prompt", "/ca.pem")
    assert made.facet_id == LAB_FACET_ID
    assert again.accounts() == [ALICE]
    again.close()


def test_a_phone_that_was_never_set_up_says_so(tmp_path: Path) -> None:
    profile = Profile(tmp_path / "phone.sqlite")
    assert not profile.exists()
    with pytest.raises(ProfileMissingError, match="register first"):
        profile.settings()
    profile.create(keys_uri="pkcs11:", verification="pin", ca=None)
    assert profile.exists()
    profile.close()


def test_a_file_of_before_there_were_forms_is_a_first_factor(tmp_path: Path) -> None:
    path = tmp_path / "phone.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE phone (device_id TEXT PRIMARY KEY, keys_uri TEXT NOT NULL, verification TEXT NOT NULL,"
            " facet_id TEXT NOT NULL, ca TEXT)"
        )
        database.execute("INSERT INTO phone VALUES ('d', 'pkcs11:', 'pin', 'android:x', NULL)")
    database.close()
    profile = Profile(path)
    assert (profile.settings().form, profile.settings().uaf_card) == (Form.FIRST_FACTOR, None)
    profile.close()


def test_the_keys_of_an_account_are_known_and_go_with_it(tmp_path: Path) -> None:
    profile = opened(tmp_path / "phone.sqlite")
    profile.save_account(ALICE)
    for _ in range(2):
        profile.save_keys(ALICE.base_url, ALICE.username, [("F10B#0116", "aw")])
    profile.save_keys(ALICE.base_url, "bob", [("F10B#0116", "Yg")])
    assert profile.keys_of(ALICE) == {("F10B#0116", b"k")}
    profile.remove_account(ALICE)
    assert profile.keys_of(ALICE) == set()
    profile.close()


def test_two_phones_are_two_devices(tmp_path: Path) -> None:
    profiles = [opened(tmp_path / f"{name}.sqlite") for name in "ab"]
    first, second = (profile.settings().device_id for profile in profiles)
    assert first != second
    for profile in profiles:
        profile.close()


def test_an_account_is_one_user_at_one_server(tmp_path: Path) -> None:
    profile = opened(tmp_path / "phone.sqlite")
    elsewhere = Account("https://b.example", "alice", "https://b.example/facets")
    changed = Account("https://a.example", "alice", "https://a.example/facets", target_id="another")
    for account in (ALICE, elsewhere, changed):
        profile.save_account(account)
    assert profile.accounts() == [changed, elsewhere]
    assert profile.account("https://b.example", "alice") == elsewhere
    assert profile.account("https://b.example", "bob") is None
    profile.remove_account(changed)
    profile.remove_account(changed)
    assert profile.accounts() == [elsewhere]
    profile.close()


def test_a_discarded_profile_leaves_no_file(tmp_path: Path) -> None:
    profile = opened(tmp_path / "phone.sqlite")
    other = opened(tmp_path / "phone2.sqlite")
    profile.save_account(ALICE)
    profile.discard()
    other.close()
    assert {path.name for path in tmp_path.iterdir()} == {"phone2.sqlite"}
    with pytest.raises(sqlite3.ProgrammingError):
        profile.accounts()


def test_names_are_values_and_never_sql(tmp_path: Path) -> None:
    profile = opened(tmp_path / "phone.sqlite")
    odd = Account("https://a.example", "'); DROP TABLE account; --", "app")
    profile.save_account(odd)
    assert profile.account("https://a.example", odd.username) == odd
    profile.remove_account(odd)
    assert profile.accounts() == []
    profile.close()
