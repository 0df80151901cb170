"""The public phone and laptop: what is refused, and what is left where."""

import json
from pathlib import Path
from typing import Any

import pytest

from fidoloop.api.keys import KeyStore, PinIncorrect, PinRequired, open_key_store
from fidoloop.api.laptop import Laptop
from fidoloop.api.phone import BridgeError, NetworkError, Phone, ProfileMissingError, User
from fidoloop.hsm.open import uri_of
from fidoloop.hsm.uri import parse_uri
from fidoloop.testing.phones import PhoneMaker
from fidoloop.testing.server import ServerUnderTest

FACET = "android:apk-key-hash:Zm9yIHRoZSBleGFtcGxl"


@pytest.fixture
def pin(fidoloop_token: str) -> str:
    return parse_uri(fidoloop_token).pin() or ""


def test_a_phone_is_opened_again_by_the_uri_that_it_keeps_and_its_users_pin(
    fidoloop_token: str, pin: str, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "phone.sqlite"
    Phone.create(path, fidoloop_token).close()
    assert pin.encode() not in path.read_bytes()
    with Phone.open(path, user=User(pin=pin)) as phone:
        assert phone.accounts() == []
    with pytest.raises(PinRequired):
        Phone.open(path)
    with pytest.raises(PinIncorrect):
        Phone.open(path, user=User(pin="000000"))
    with open_key_store(fidoloop_token) as store, Phone.open(path, store):
        assert store.list() is not None


def test_a_phone_is_not_made_over_another(fidoloop_token: str, tmp_path: Path) -> None:
    path = tmp_path / "phone.sqlite"
    Phone.create(path, fidoloop_token).close()
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"Phone\.open"):
        Phone.create(path, fidoloop_token)
    assert path.read_bytes() == before


def test_where_a_phone_cannot_be_made_nothing_is_left_of_it(fidoloop_token: str, tmp_path: Path) -> None:
    wrong: Any = "voice"
    with pytest.raises(ValueError, match="voice"):
        Phone.create(tmp_path / "phone.sqlite", fidoloop_token, verification=wrong)
    with pytest.raises(PinIncorrect):
        Phone.create(tmp_path / "phone.sqlite", fidoloop_token.replace("pin-value=", "pin-value=0"))
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_none_none_is_opened_or_made(tmp_path: Path) -> None:
    with pytest.raises(ProfileMissingError, match=r"Phone\.create"):
        Phone.open(tmp_path / "phone.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_the_key_store_that_a_phone_was_given_stays_open(fidoloop_token: str, tmp_path: Path) -> None:
    with open_key_store(fidoloop_token) as store:
        with Phone.create(tmp_path / "phone.sqlite", store) as phone:
            assert phone.store is store
        assert store.random(1)
    with open_key_store(fidoloop_token) as store:
        assert uri_of(store) == parse_uri(fidoloop_token).without_pin()


def registration(facet: str) -> str:
    header = {"upv": {"major": 1, "minor": 1}, "op": "Reg", "appID": facet}
    policy = {"accepted": [[{"aaid": ["F10B#0111"]}]]}
    return json.dumps([{"header": header, "challenge": "A" * 43, "username": "alice", "policy": policy}])


def keys_of(store: KeyStore) -> set[bytes]:
    return {info.key_id for info in store.list()}


@pytest.mark.parametrize("kept", [True, False])
def test_a_key_made_for_a_request_from_anywhere_stays_only_where_that_is_said(
    fidoloop_token: str, pin: str, tmp_path: Path, kept: bool
) -> None:
    path = tmp_path / "phone.sqlite"
    with Phone.create(path, fidoloop_token, user=User(pin=pin), facet_id=FACET) as phone:
        before = keys_of(phone.store)
        with phone.answering("https://rp.example", registration(FACET)) as answer:
            assert json.loads(answer.response)[0]["header"]["op"] == "Reg"
            assert len(keys_of(phone.store) - before) == 1
            if kept:
                answer.keep()
        assert len(keys_of(phone.store) - before) == int(kept)
        assert [account.username for account in phone.accounts()] == (["alice"] if kept else [])


def test_plain_http_is_for_this_machine_alone(fidoloop_token: str, tmp_path: Path) -> None:
    with Phone.create(tmp_path / "phone.sqlite", fidoloop_token) as phone, pytest.raises(NetworkError):
        phone.passkey_login("http://login.example")
    with pytest.raises(NetworkError):
        Laptop("http://login.example")


def test_a_token_for_another_server_than_the_one_named_enrols_nowhere(
    fidoloop_make_phone: PhoneMaker, fidoloop_local_server: ServerUnderTest
) -> None:
    local = fidoloop_local_server.local
    assert local is not None
    local.add_user("mallory")
    phone = fidoloop_make_phone()
    with pytest.raises(BridgeError):
        phone.register(local.enrol("mallory"), server="https://elsewhere.example")
    assert phone.accounts() == []


def test_who_does_not_follow_a_token_redeems_nothing(
    fidoloop_make_phone: PhoneMaker, fidoloop_local_server: ServerUnderTest
) -> None:
    local = fidoloop_local_server.local
    assert local is not None
    local.add_user("carol")
    token = local.enrol("carol")
    with pytest.raises(BridgeError):
        fidoloop_make_phone(user=User(follow=lambda asked: False)).register(token)
    fidoloop_make_phone().register(token)
