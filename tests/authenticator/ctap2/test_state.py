"""What outlasts the power: counters that never go back, rows that were not changed from outside, losing power."""

import sqlite3
from typing import Any

import pytest
from fido2.ctap import CtapError
from fido2.ctap1 import ApduError, Ctap1

from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.errors import TamperedStateError
from tests.authenticator.ctap2.lab import ERR, Lab, LabMaker, credential_id


def test_credentials_outlast_a_restart(lab: Lab) -> None:
    made, resident = lab.make(), lab.resident()
    lab.restart()
    lab.get(made)
    assert lab.get().credential["id"] == credential_id(resident)


def test_counters_go_up_across_restarts_and_sudden_ends(lab: Lab) -> None:
    made = lab.make()
    counters = [made.auth_data.counter]
    for _ in range(3):
        counters += [lab.get(made).auth_data.counter for _ in range(5)]
        lab.start()  # without closing: what was in memory is lost
    assert counters == sorted(set(counters))
    assert counters[:6] == [1, 2, 3, 4, 5, 6]


def test_losing_power_between_the_counter_and_the_answer_skips_ahead(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made = lab.make()
    before = lab.get(made).auth_data.counter

    def power_lost(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fidoloop.authenticator.ctap2.get_assertion.encode_authenticator_data", power_lost)
        with pytest.raises(KeyboardInterrupt):
            lab.get(made)
    lab.start()
    assert lab.get(made).auth_data.counter > before + 1


def test_losing_power_before_a_credential_is_stored_leaves_the_old_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = lab.resident(user=b"same")

    def power_lost(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lab.state, "put", power_lost)
        patch.setattr(lab.store, "delete", power_lost)
        with pytest.raises(KeyboardInterrupt):
            lab.resident(user=b"same")
    lab.start()
    assert lab.get().credential["id"] == credential_id(old)


def test_losing_power_in_the_middle_of_a_reset_leaves_nothing_to_use(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made, resident = lab.make(extensions={"hmac-secret": True}), lab.resident()

    def power_lost() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lab.authenticator.core, "destroy_all_keys", power_lost)
        with pytest.raises(KeyboardInterrupt):
            lab.ctap.reset()
    lab.start()
    for one in (made, resident):
        with pytest.raises(CtapError, match="NO_CREDENTIALS"):
            lab.get(one)


def test_a_disk_that_takes_nothing_more_keeps_commands_from_being_done(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lab.make()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(lab.state, "_write", full)
        for call in (lambda: lab.get(made), lab.resident, lab.set_pin, lab.ctap.reset):
            with pytest.raises(CtapError) as caught:
                call()
            assert caught.value.code is ERR.OTHER
        with pytest.raises(ApduError) as refused:
            Ctap1(lab.device).authenticate(bytes(32), made.auth_data.rp_id_hash, credential_id(made))
        assert refused.value.code == 0x6F00
    assert lab.keys() == 1
    lab.get(made)


def change(lab: Lab, statement: str, *values: Any) -> None:  # noqa: ANN401
    """Change the file from outside."""
    database = sqlite3.connect(lab.path)
    with database:
        assert database.execute(statement, values).rowcount
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ctap2_row SET content = replace(content, '\"always_uv\":true', '\"always_uv\":false')"
        " WHERE name = 'settings'",
        "UPDATE ctap2_row SET mac = NULL WHERE name = 'settings'",
        "UPDATE ctap2_row SET content = CAST(content AS TEXT) WHERE name = 'settings'",
    ],
)
def test_settings_changed_from_outside_stop_everything(lab: Lab, statement: str) -> None:
    made = lab.make()
    lab.state.update(always_uv=True)
    change(lab, statement)
    for call in (lab.info, lambda: lab.get(made), lab.make, lambda: lab.client_pin().get_pin_retries()):
        with pytest.raises(CtapError) as caught:
            call()
        assert caught.value.code is ERR.INTEGRITY_FAILURE


def test_a_counter_set_back_from_outside_signs_nothing(lab: Lab) -> None:
    made = lab.make()
    change(lab, "UPDATE ctap2_row SET content = '0' WHERE name = 'counter'")
    lab.start()
    with pytest.raises(CtapError, match="INTEGRITY_FAILURE"):
        lab.get(made)


def test_a_credential_changed_from_outside_is_not_used(lab: Lab) -> None:
    made = lab.resident()
    change(lab, "UPDATE ctap2_credential SET content = replace(CAST(content AS TEXT), 'rp.example', 'xx.example')")
    for call in (lab.get, lambda: lab.get(made)):
        with pytest.raises(CtapError, match="INTEGRITY_FAILURE"):
            call()


def test_a_row_of_one_name_is_none_of_another(lab: Lab) -> None:
    lab.make()
    change(lab, "DELETE FROM ctap2_row WHERE name = 'settings'")
    change(lab, "UPDATE ctap2_row SET name = 'settings' WHERE name = 'counter'")
    with pytest.raises(CtapError, match="INTEGRITY_FAILURE"):
        lab.info()


def test_without_its_settings_the_authenticator_knows_no_credential(lab: Lab) -> None:
    made, resident = lab.make(), lab.resident()
    lab.set_pin()
    change(lab, "DELETE FROM ctap2_row WHERE name = 'settings'")
    for one in (made, resident):
        with pytest.raises(CtapError, match="NO_CREDENTIALS"):
            lab.get(one)
    with pytest.raises(CtapError, match="NO_CREDENTIALS"):
        lab.get()


def test_another_process_sees_what_one_does(lab: Lab) -> None:
    other = Ctap2State(lab.path, lab.store)
    made = lab.resident()
    assert list(other.residents()) == [credential_id(made)]
    other.update(always_uv=True)
    assert lab.info().options["alwaysUv"] is True
    for state in (lab.state, other, lab.state, other):
        state.take_try("pin_retries")
    assert lab.state.settings.pin_retries == other.settings.pin_retries == 4
    counters = [lab.state.next_counter(), other.next_counter(), lab.state.next_counter(), other.next_counter()]
    assert len(set(counters)) == 4
    other.close()


def test_a_file_belongs_to_its_token(lab: Lab, make_lab: LabMaker, bare_store: Any) -> None:  # noqa: ANN401
    lab.make()
    state = Ctap2State(lab.path, bare_store)
    with pytest.raises(TamperedStateError):
        assert state.settings
    state.close()


def test_a_reset_by_another_process_ends_what_one_remembers(lab: Lab) -> None:
    made = lab.make()
    other = Ctap2State(lab.path, lab.store)
    other.reset()
    other.close()
    with pytest.raises(CtapError, match="NO_CREDENTIALS"):
        lab.get(made)
