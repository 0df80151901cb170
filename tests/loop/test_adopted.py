"""A key that yubico-piv-tool made, adopted by a phone: log-in and signing on OpenSC's module, and over PC/SC."""

from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit
from fidoloop.hsm.open import open_key_store
from fidoloop.lab_card import MANAGEMENT_KEY, PIN, LabCard
from fidoloop.opensc import make_card_key
from tests.cli.command import Done, invoke
from tests.lab import Lab

AAID = "F10B#0791"


@pytest.mark.parametrize("key_id", ["01", "02"], ids=["9A", "9C, PIN at every use"])
def test_an_adopted_key_registers_logs_in_confirms_and_deregisters(
    fidoloop_lab: Lab, fidoloop_opensc_token: str, fidoloop_card: LabCard, tmp_path: Path, key_id: str
) -> None:
    def command(*arguments: str, code: int = Exit.OK) -> Done:
        done = invoke(*arguments, "--home", str(tmp_path), pin=PIN)
        assert done.code == code, done.all
        return done

    def state(username: str, transaction: str | None = None) -> str:
        dispatched = fidoloop_lab.laptop.dispatch(username=username, dispatcher="link", transaction=transaction)
        command("phone", "confirm" if transaction else "scan", dispatched.response, "--yes")
        return fidoloop_lab.laptop.status(dispatched.session_id).status

    uri = fidoloop_opensc_token.partition("&pin-value")[0]
    adopted = command("keys", "adopt", uri, "--id", key_id, "--json").json
    assert adopted["aaids"] == [AAID, "F10B#07A1"]
    username = fidoloop_lab.new_user()
    options = ("--keys", uri, "--ca", str(fidoloop_lab.server.ca), "--server", fidoloop_lab.server.url, "--yes")
    registered = command("phone", "register", fidoloop_lab.server.enrol(username), *options, "--json")
    assert [key["aaid"] for key in registered.json["keys"]] == [AAID]
    assert "without a dispatch target" in registered.err
    assert fidoloop_lab.laptop.targets(username) == ()
    assert command("phone", "login", "--json").json["statusCode"] == 1200
    assert state(username) == "succeeded"
    assert state(username, "Pay 100 CHF to Bob") == "succeeded"
    listed = command("phone", "list", "--json").json
    assert listed["adopted"] == [{"id": key_id, "keyID": registered.json["keys"][0]["keyID"]}]
    assert command("phone", "deregister", "--user", username, "--yes", "--json").json["deleted"]
    assert command("phone", "list", "--json").json["adopted"] == [{"id": key_id, "keyID": None}]
    with open_key_store(fidoloop_opensc_token) as store:
        assert len(store.list()) == 2
    assert fidoloop_card.store.state.pin.left == 3


def test_a_key_yubico_piv_tool_made_is_adopted_over_pc_sc_too(
    fidoloop_lab: Lab, fidoloop_card: LabCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIDOLOOP_MANAGEMENT_KEY", MANAGEMENT_KEY)  # the dispatch target's keys are made
    make_card_key(fidoloop_card, "9a")
    listed = invoke("keys", "list", fidoloop_card.uri, "--json", pin=PIN).json["keys"]
    (key,) = [entry for entry in listed if entry["place"] == "9a"]
    options = ("--home", str(tmp_path), "--json")
    assert invoke("keys", "adopt", fidoloop_card.uri, "--id", key["id"], *options, pin=PIN).code == Exit.OK
    more = ("--ca", str(fidoloop_lab.server.ca), "--server", fidoloop_lab.server.url, "--yes", *options)
    token = fidoloop_lab.server.enrol(fidoloop_lab.new_user())
    registered = invoke("phone", "register", token, "--keys", fidoloop_card.uri, *more, pin=PIN)
    assert registered.code == Exit.OK, registered.all
    assert [entry["aaid"] for entry in registered.json["keys"]] == [AAID]
    assert invoke("phone", "login", *options, pin=PIN).json["statusCode"] == 1200
    again = invoke("keys", "list", fidoloop_card.uri, "--json", pin=PIN).json["keys"]
    assert key in again
