"""authenticatorCredentialManagement (CTAP 2.1, section 6.8)."""

from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap import CtapError
from fido2.ctap2 import CredentialManagement  # type: ignore[attr-defined]  # the package's names
from fido2.webauthn import AttestationObject, PublicKeyCredentialUserEntity

from fidoloop.authenticator.ctap2.core import NEXT_SECONDS, rp_id_hash_of
from tests.authenticator.ctap2.lab import (
    ERR,
    PERMISSION,
    PROTOCOLS,
    RP_ID,
    Lab,
    descriptor,
    public_key,
)

RESULT = CredentialManagement.RESULT
RP_IDS = ["one.example", "two.example"]


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """An authenticator with three discoverable credentials, then a PIN."""
    for rp_id, user in (("one.example", b"anna"), ("two.example", b"anna"), ("one.example", b"bert")):
        lab.resident(rp_id, user, extensions={"credProtect": 2, "largeBlobKey": True})
    lab.set_pin()
    return lab


def refused(status: ERR, call: Callable[..., Any], *arguments: Any) -> None:  # noqa: ANN401
    with pytest.raises(CtapError) as caught:
        call(*arguments)
    assert caught.value.code is status


@pytest.mark.parametrize("version", [1, 2])
def test_all_is_told_with_a_token(filled: Lab, version: int) -> None:
    management = filled.management(version=version)
    metadata = management.get_metadata()
    assert metadata == {RESULT.EXISTING_CRED_COUNT: 3, RESULT.MAX_REMAINING_COUNT: filled.info().remaining_disc_creds}
    found = management.enumerate_rps()
    assert sorted(one[RESULT.RP]["id"] for one in found) == RP_IDS
    assert found[0][RESULT.TOTAL_RPS] == 2
    assert all(one[RESULT.RP_ID_HASH] == rp_id_hash_of(one[RESULT.RP]["id"]) for one in found)
    bert, anna = management.enumerate_creds(rp_id_hash_of("one.example"))
    assert bert[RESULT.USER] == {"id": b"bert", "name": "bert", "displayName": "Bert"}
    assert bert[RESULT.TOTAL_CREDENTIALS] == 2
    assert anna[RESULT.USER]["id"] == b"anna"
    assert (anna[RESULT.CRED_PROTECT], len(anna[RESULT.LARGE_BLOB_KEY])) == (2, 32)
    assert RESULT.TOTAL_CREDENTIALS not in anna


def test_a_public_key_is_told_as_it_was_attested(pin_lab: Lab) -> None:
    made = pin_lab.make(
        key_params=[{"type": "public-key", "alg": -35}],
        options={"rk": True},
        **pin_lab.proof(PERMISSION.MAKE_CREDENTIAL),
    )
    assert isinstance(AttestationObject.create(made.fmt, made.auth_data, made.att_stmt), bytes)
    (entry,) = pin_lab.management().enumerate_creds(rp_id_hash_of(RP_ID))
    assert entry[RESULT.PUBLIC_KEY] == public_key(made)
    assert entry[RESULT.CREDENTIAL_ID] == descriptor(made)


def test_enumerations_may_be_interleaved_and_end(filled: Lab) -> None:
    management = filled.management()
    first = management.enumerate_rps_begin()
    management.enumerate_creds_begin(first[RESULT.RP_ID_HASH])
    second = management.enumerate_rps_next()
    assert {first[RESULT.RP]["id"], second[RESULT.RP]["id"]} == set(RP_IDS)
    refused(ERR.NOT_ALLOWED, management.enumerate_rps_next)
    management.enumerate_creds_begin(rp_id_hash_of("one.example"))
    management.enumerate_creds_next()
    refused(ERR.NOT_ALLOWED, management.enumerate_creds_next)


@pytest.mark.parametrize("what", ["enumerate_rps_next", "enumerate_creds_next"])
def test_nothing_comes_next_where_nothing_began_or_another_command_came(filled: Lab, what: str) -> None:
    management = filled.management()
    refused(ERR.NOT_ALLOWED, getattr(management, what))
    management.enumerate_rps_begin()
    management.enumerate_creds_begin(rp_id_hash_of("one.example"))
    filled.info()
    refused(ERR.NOT_ALLOWED, getattr(management, what))


def test_an_enumeration_does_not_wait_for_ever(filled: Lab) -> None:
    management = filled.management()
    management.enumerate_rps_begin()
    filled.now += NEXT_SECONDS + 1
    refused(ERR.NOT_ALLOWED, management.enumerate_rps_next)


def test_without_credentials_there_is_nothing_to_enumerate(pin_lab: Lab) -> None:
    management = pin_lab.management()
    refused(ERR.NO_CREDENTIALS, management.enumerate_rps_begin)
    refused(ERR.NO_CREDENTIALS, management.enumerate_creds_begin, bytes(32))
    refused(ERR.INVALID_LENGTH, management.enumerate_creds_begin, bytes(31))


def test_a_credential_is_deleted_with_its_key(filled: Lab) -> None:
    management = filled.management()
    (anna,) = management.enumerate_creds(rp_id_hash_of("two.example"))
    keys = filled.keys()
    management.delete_cred(anna[RESULT.CREDENTIAL_ID])
    assert filled.keys() == keys - 1
    refused(ERR.NO_CREDENTIALS, management.delete_cred, anna[RESULT.CREDENTIAL_ID])
    refused(ERR.NO_CREDENTIALS, management.enumerate_creds_begin, rp_id_hash_of("two.example"))
    with pytest.raises(CtapError, match="NO_CREDENTIALS"):
        filled.ctap.get_assertion("two.example", bytes(32), [anna[RESULT.CREDENTIAL_ID]])
    assert len(management.enumerate_rps()) == 1


def test_only_discoverable_credentials_can_be_deleted(pin_lab: Lab) -> None:
    made = pin_lab.make()
    refused(ERR.NO_CREDENTIALS, pin_lab.management().delete_cred, descriptor(made))


def test_names_are_changed_and_survive(filled: Lab) -> None:
    management = filled.management()
    bert, _ = management.enumerate_creds(rp_id_hash_of("one.example"))
    management.update_user_info(
        bert[RESULT.CREDENTIAL_ID], PublicKeyCredentialUserEntity(id=b"bert", name="robert", display_name=None)
    )
    refused(ERR.INVALID_PARAMETER, management.update_user_info, bert[RESULT.CREDENTIAL_ID], {"id": b"x", "name": "x"})
    filled.restart()
    changed, anna = filled.management().enumerate_creds(rp_id_hash_of("one.example"))
    assert changed[RESULT.USER] == {"id": b"bert", "name": "robert"}
    assert changed[RESULT.CREDENTIAL_ID] == bert[RESULT.CREDENTIAL_ID]
    assert anna[RESULT.USER]["name"] == "anna"


def test_a_token_of_one_relying_party_opens_only_what_is_its_own(filled: Lab) -> None:
    one, two = rp_id_hash_of("one.example"), rp_id_hash_of("two.example")
    (anna,) = filled.management().enumerate_creds(two)
    management = filled.management("one.example")
    refused(ERR.PIN_AUTH_INVALID, management.get_metadata)
    refused(ERR.PIN_AUTH_INVALID, management.enumerate_rps_begin)
    refused(ERR.PIN_AUTH_INVALID, management.enumerate_creds_begin, two)
    refused(ERR.PIN_AUTH_INVALID, management.delete_cred, anna[RESULT.CREDENTIAL_ID])
    user: dict[str, Any] = {"id": b"anna", "name": "x"}
    refused(ERR.PIN_AUTH_INVALID, management.update_user_info, anna[RESULT.CREDENTIAL_ID], user)
    assert len(management.enumerate_creds(one)) == 2


def calls(management: CredentialManagement, known: dict[str, Any]) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
    return [
        (management.get_metadata, ()),
        (management.enumerate_rps_begin, ()),
        (management.enumerate_creds_begin, (rp_id_hash_of("one.example"),)),
        (management.delete_cred, (known,)),
        (management.update_user_info, (known, {"id": b"anna", "name": "x"})),
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_every_subcommand_wants_the_right_token(filled: Lab, version: int) -> None:
    known = next(iter(filled.state.residents()))
    for permission in (PERMISSION.GET_ASSERTION | PERMISSION.MAKE_CREDENTIAL, PERMISSION.AUTHENTICATOR_CFG):
        token = filled.token(permission, RP_ID, version=version)
        stranger = CredentialManagement(filled.ctap, PROTOCOLS[version](), token)
        for call, arguments in calls(stranger, {"type": "public-key", "id": known}):
            refused(ERR.PIN_AUTH_INVALID, call, *arguments)
    token = filled.token(PERMISSION.CREDENTIAL_MGMT, None, version=version)
    forger = CredentialManagement(filled.ctap, PROTOCOLS[version](), bytes(32))
    for call, arguments in calls(forger, {"type": "public-key", "id": known}):
        refused(ERR.PIN_AUTH_INVALID, call, *arguments)
    CredentialManagement(filled.ctap, PROTOCOLS[version](), token).get_metadata()
    assert len(filled.state.residents()) == 3


def test_credential_ids_of_other_types_are_not_here(filled: Lab) -> None:
    known = next(iter(filled.state.residents()))
    refused(ERR.NO_CREDENTIALS, filled.management().delete_cred, {"type": "public-key", "id": known[:-1]})
