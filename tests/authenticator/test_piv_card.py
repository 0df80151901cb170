"""The phone's authenticator on a PIV card: few slots, no MACs, a PIN that locks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.errors import AsmError
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove, TokenPin, UserVerifier
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.piv.slots import SLOTS
from fidoloop.lab_card import PIN, LabCard
from fidoloop.protocol.uaf.registry import AttestationType
from fidoloop.protocol.uaf.status import AsmStatus

from .conftest import APP_ID, FACET, FC_PARAMS, NOW

AAID = "F10B#0513"
FULL = int(AttestationType.BASIC_FULL)


@pytest.fixture
def store(fidoloop_card: LabCard) -> Iterator[KeyStore]:
    with open_key_store(f"{fidoloop_card.uri}?pin-value={PIN}&management-key=default") as opened:
        attest_init(opened, now=NOW)
        yield opened


def phone(store: KeyStore, directory: Path, verifier: UserVerifier) -> Asm:
    return Asm(store, AuthenticatorState(directory / "phone.sqlite", store), verifier, caller_id=FACET)


def register(asm: Asm, aaid: str = AAID) -> bytes:
    key_id, _ = asm.register(aaid, app_id=APP_ID, username="alice", final_challenge=FC_PARAMS, attestation_type=FULL)
    return key_id


def test_a_full_card_has_insufficient_resources_until_a_key_is_deregistered(
    fidoloop_card: LabCard, store: KeyStore, tmp_path: Path
) -> None:
    asm = phone(store, tmp_path, AutoApprove())
    objects = fidoloop_card.store.state.objects
    for slot in SLOTS[:-2]:  # all but two are somebody else's
        objects.setdefault(slot.certificate_object, b"\x70\x00\x71\x01\x00")
    first, second = register(asm), register(asm)
    with pytest.raises(AsmError) as refused:
        register(asm)
    assert refused.value.status is AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES
    assert {entry.key_id for entry in asm.registrations()} == {first, second}
    asm.deregister(AAID, app_id=APP_ID, key_id=first)
    third = register(asm)
    assert {info.key_id for info in store.list() if info.label.startswith("fidoloop UAF")} == {second, third}


def test_a_locked_pin_locks_the_user_out(store: KeyStore, tmp_path: Path) -> None:
    pins = iter(["000000", "000001", "000002"])
    asm = phone(store, tmp_path, TokenPin(store, lambda _request, _tries: next(pins)))
    with pytest.raises(AsmError) as refused:
        register(asm, "F10B#0511")
    assert refused.value.status is AsmStatus.USER_LOCKOUT


def test_a_card_that_was_pulled_is_disconnected_and_signs_when_it_is_back(
    fidoloop_card: LabCard, store: KeyStore, tmp_path: Path
) -> None:
    asm = phone(store, tmp_path, AutoApprove())
    key_id = register(asm)
    fidoloop_card.pull()
    with pytest.raises(AsmError) as refused:
        asm.authenticate(AAID, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id])
    assert refused.value.status is AsmStatus.AUTHENTICATOR_DISCONNECTED
    fidoloop_card.insert()
    assert asm.authenticate(AAID, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id])
