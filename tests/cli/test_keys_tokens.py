"""`fidoloop keys tokens`: modules, slots and tokens, each token with the URI to use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit
from fidoloop.hsm.uri import parse_uri
from fidoloop.lab_card import PIN, LabCard
from fidoloop.softhsm import find_softhsm_module
from tests.cli.command import invoke, run
from tests.lab import SOFTHSM_PIN


def test_a_token_is_listed_with_a_uri_that_the_other_commands_take(fidoloop_make_token: Callable[[], str]) -> None:
    label = parse_uri(fidoloop_make_token()).token
    listed = invoke("keys", "tokens", "--json", "--module", str(find_softhsm_module()))
    assert listed.code == Exit.OK
    (module,) = listed.json["modules"]
    assert module["error"] is None
    (token,) = [slot["token"] for slot in module["slots"] if slot["token"] and slot["token"]["label"] == label]
    assert token.keys() >= {"uri", "kind", "serial", "hardware", "pin_pad", "signs", "state"}
    assert (token["kind"], token["hardware"], token["state"]) == ("softhsm", False, "")
    assert invoke("keys", "list", token["uri"], pin=SOFTHSM_PIN).code == Exit.OK


def test_every_module_of_the_machine_is_looked_into() -> None:
    """In a process of its own, with what the machine has: broken modules are lines among others."""
    listed = run("keys", "tokens", "--json")
    assert (listed.code, listed.err) == (Exit.OK, "")
    paths = {Path(module["path"]).resolve() for module in listed.json["modules"]}
    assert find_softhsm_module().resolve() in paths
    for module in listed.json["modules"]:
        assert (module["error"] is None) or module["slots"] == []


def test_the_list_for_people_has_the_uri_on_a_line_of_its_own(fidoloop_make_token: Callable[[], str]) -> None:
    label = parse_uri(fidoloop_make_token()).token
    module = str(find_softhsm_module())
    listed = invoke("keys", "tokens", "--module", module, "--module", "/does/not/exist.so")
    assert listed.code == Exit.OK
    lines = [line.strip() for line in listed.out.splitlines()]
    assert f"pkcs11:token={label}?module-path={Path(module).resolve()}" in lines
    assert f"{label}: softhsm, no hardware" in lines
    assert any("not initialised" in line for line in lines)
    assert any("/does/not/exist.so" in line and "No such file" in line for line in lines)


def test_readers_are_listed_with_the_uris_of_their_cards(fidoloop_card: LabCard) -> None:
    listed = run("keys", "tokens", "--json")
    assert (listed.code, listed.json["pcsc"]) == (Exit.OK, None)
    first, second = listed.json["readers"]
    assert (first["reader"], first["error"]) == (fidoloop_card.reader, None)
    assert first["card"]["label"] == "fidoloop simulated card"
    assert invoke("keys", "list", first["card"]["uri"], pin=PIN).code == Exit.OK
    assert (second["card"], second["error"]) == (None, "no card is in the reader (any more)")
    for_people = run("keys", "tokens").out
    assert f"    {first['card']['uri']}\n" in for_people


def test_without_pcscd_the_rest_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", "/nonexistent")
    listed = run("keys", "tokens", "--json")
    assert listed.code == Exit.OK
    assert listed.json["modules"]
    assert "pcscd" in listed.json["pcsc"]
