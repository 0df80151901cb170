"""`fidoloop keys adopt`: a phone takes a key of the token's, and what it takes survives what fails after."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit
from fidoloop.hsm.keystore import KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.uri import parse_uri
from tests.cli.command import Done, invoke
from tests.lab import SOFTHSM_PIN, Lab


@pytest.fixture
def uri(fidoloop_make_token: Callable[[], str]) -> str:
    return fidoloop_make_token()


@pytest.fixture
def store(uri: str) -> Iterator[KeyStore]:
    with open_key_store(uri) as opened:
        yield opened


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Done]:
    return lambda *arguments: invoke(*arguments, "--home", str(tmp_path), pin=SOFTHSM_PIN)


def key_in(store: KeyStore, algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> str:
    return store.generate(algorithm, KeyUsage.SIGN, key_id=os.urandom(4), label="made by others").key_id.hex()


def test_an_adopted_key_is_listed_written_and_forgotten(
    uri: str, store: KeyStore, command: Callable[..., Done], tmp_path: Path
) -> None:
    key = key_in(store)
    adopted = command("keys", "adopt", uri, "--id", key, "--metadata", str(tmp_path / "metadata"), "--uv", "prompt")
    assert adopted.code == Exit.OK
    assert f"adopted p256 key {key} (made by others)" in adopted.out
    statements = sorted(path.name for path in (tmp_path / "metadata").iterdir())
    assert statements == ["F10B-0792.json", "F10B-07A2.json"]
    statement = json.loads((tmp_path / "metadata" / statements[0]).read_text())
    assert (statement["aaid"], statement["keyProtection"]) == ("F10B#0792", 1)
    again = command("keys", "adopt", uri, "--id", key)
    assert (again.code, "adopted already" in again.err) == (Exit.DEVICE, True)
    assert command("keys", "adopt", uri, "--id", key, "--forget", "--json").json == {"forgotten": key}
    assert command("keys", "adopt", uri, "--id", key, "--forget").code == Exit.DEVICE
    assert key in [info.key_id.hex() for info in store.list()]


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P384, KeyAlgorithm.RSA2048, None])
def test_a_key_that_cannot_be_adopted_leaves_nothing_behind(
    uri: str, store: KeyStore, command: Callable[..., Done], tmp_path: Path, algorithm: KeyAlgorithm | None
) -> None:
    key = "ffff" if algorithm is None else key_in(store, algorithm)
    assert command("keys", "adopt", uri, "--id", key).code == Exit.DEVICE
    assert list((tmp_path / "phone").iterdir()) == []


def test_a_registration_that_fails_leaves_the_adoption_and_no_phone(
    fidoloop_lab: Lab, uri: str, store: KeyStore, command: Callable[..., Done]
) -> None:
    key = key_in(store)
    assert command("keys", "adopt", uri, "--id", key).code == Exit.OK
    options = ("--keys", parse_uri(uri).without_pin(), "--ca", str(fidoloop_lab.server.ca), "--yes")
    token = fidoloop_lab.server.enrol(fidoloop_lab.new_user())
    refused = command("phone", "register", token, *options, "--server", "https://other.example")
    assert refused.code == Exit.REFUSED
    assert command("phone", "list").code == Exit.USAGE  # no phone is set up
    registered = command("phone", "register", token, *options, "--server", fidoloop_lab.server.url, "--json")
    assert [entry["aaid"] for entry in registered.json["keys"]] == ["F10B#0791"]
    assert command("phone", "list", "--json").json["adopted"][0]["id"] == key


def test_a_phone_adopts_keys_of_its_own_token_only(
    fidoloop_lab: Lab,
    uri: str,
    store: KeyStore,
    fidoloop_make_token: Callable[[], str],
    command: Callable[..., Done],
) -> None:
    assert command("keys", "adopt", uri, "--id", key_in(store)).code == Exit.OK
    options = ("--keys", parse_uri(uri).without_pin(), "--ca", str(fidoloop_lab.server.ca), "--yes")
    token = fidoloop_lab.server.enrol(fidoloop_lab.new_user())
    assert command("phone", "register", token, *options, "--server", fidoloop_lab.server.url).code == Exit.OK
    other = fidoloop_make_token()
    with open_key_store(other) as elsewhere:
        refused = command("keys", "adopt", other, "--id", key_in(elsewhere))
    assert (refused.code, "another key store" in refused.all) == (Exit.USAGE, True)


def test_the_name_of_a_phone_is_no_path(uri: str, command: Callable[..., Done]) -> None:
    assert command("keys", "adopt", uri, "--id", "01", "--name", "../x").code == Exit.USAGE
