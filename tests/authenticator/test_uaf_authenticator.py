import hashlib
import threading
from collections.abc import Sequence

import pytest

from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.errors import AsmError, AuthenticatorError
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove, Deny, Prompt, TokenPin, UserVerifier
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.attestation import verify_attestation
from fidoloop.protocol.uaf.messages import Transaction
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType, UserVerification
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import AsmStatus
from tests.authenticator.conftest import APP_ID, FACET, FC_PARAMS, NOW, asm_with, metadata_of
from tests.lab import SOFTHSM_PIN

FULL = int(AttestationType.BASIC_FULL)
SURROGATE = int(AttestationType.BASIC_SURROGATE)
RAW_FULL = "F10B#0113"
TRANSACTION = Transaction("text/plain", base64url.encode(b"Pay 100 CHF to Bob"))


def register(asm: Asm, aaid: str = RAW_FULL, username: str = "jeff", attestation: int = FULL) -> bytes:
    key_id, _ = asm.register(
        aaid, app_id=APP_ID, username=username, final_challenge=FC_PARAMS, attestation_type=attestation
    )
    return key_id


def status_of(asm: Asm, key_ids: Sequence[bytes] | None, app_id: str = APP_ID, aaid: str = RAW_FULL) -> AsmStatus:
    with pytest.raises(AsmError) as refused:
        asm.authenticate(aaid, app_id=app_id, final_challenge=FC_PARAMS, key_ids=key_ids)
    return refused.value.status


@pytest.mark.parametrize(
    ("aaid", "attestation"),
    [("F10B#0113", FULL), ("F10B#0123", FULL), ("F10B#0193", SURROGATE), ("F10B#01A3", SURROGATE)],
)
def test_every_model_registers_and_signs_what_the_server_verifies(
    asm: Asm, store: KeyStore, aaid: str, attestation: int
) -> None:
    entry = metadata_of(store, AutoApprove())[aaid]
    key_id, raw = asm.register(
        aaid, app_id=APP_ID, username="jeff", final_challenge=FC_PARAMS, attestation_type=attestation
    )
    registered = parse_registration_assertion(raw)
    verify_attestation(registered, roots=entry.roots, at=NOW)
    assert (registered.aaid, registered.key_id, registered.sign_counter) == (aaid, key_id, 0)
    assert registered.public_key_format == entry.statement.publicKeyAlgAndEncoding
    signed = parse_authentication_assertion(
        asm.authenticate(aaid, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id])
    )
    key = load_public_key(registered.signature_algorithm, registered.public_key_format, registered.public_key)
    verify_signature(key, entry.statement.authenticationAlgorithm, signed.signature, signed.signed_data)
    assert signed.final_challenge_hash == hashlib.sha256(FC_PARAMS.encode()).digest()
    assert (signed.authentication_mode, signed.transaction_content_hash) == (1, b"")
    assert len(signed.nonce) >= 8


def test_without_an_attestation_key_only_surrogate_models_are_offered(
    bare_store: KeyStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = AuthenticatorState(tmp_path_factory.mktemp("bare") / "phone.sqlite", bare_store)
    asm = Asm(bare_store, state, AutoApprove(), caller_id=FACET)
    assert {next(iter(facts.attestation_types)) for facts in asm.get_info(APP_ID)} == {SURROGATE}
    state.close()


def test_an_attestation_type_that_is_not_the_models_is_refused_and_leaves_no_key(asm: Asm, store: KeyStore) -> None:
    before = len(store.list())
    with pytest.raises(AsmError) as refused:
        register(asm, attestation=SURROGATE)
    assert refused.value.status is AsmStatus.ERROR
    assert len(store.list()) == before


def test_counters_rise_and_every_registration_has_its_own(asm: Asm) -> None:
    first, second = register(asm), register(asm, username="ann")
    counters = [
        parse_authentication_assertion(
            asm.authenticate(RAW_FULL, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id])
        ).sign_counter
        for key_id in (first, first, second, first)
    ]
    assert counters[0] < counters[1] < counters[3]
    assert counters[2] == 1


def test_registration_counter_rises_for_each_registration_of_a_model(asm: Asm) -> None:
    counters = []
    for _ in range(3):
        _, raw = asm.register(
            RAW_FULL, app_id=APP_ID, username="jeff", final_challenge=FC_PARAMS, attestation_type=FULL
        )
        counters.append(parse_registration_assertion(raw).registration_counter)
    assert counters == sorted(set(counters))


def test_a_transaction_is_shown_and_its_hash_signed_in_mode_2(store: KeyStore, state: AuthenticatorState) -> None:
    shown: list[str | None] = []

    def approve(request: object) -> bool:
        shown.append(getattr(request, "transaction_text", None))
        return True

    asm = asm_with(store, state, Prompt(approve))
    key_id = register(asm, "F10B#0112")
    raw = asm.authenticate(
        "F10B#0112", app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id], transactions=[TRANSACTION]
    )
    signed = parse_authentication_assertion(raw)
    assert shown[-1] == "Pay 100 CHF to Bob"
    assert signed.authentication_mode == 2
    assert signed.transaction_content_hash == hashlib.sha256(b"Pay 100 CHF to Bob").digest()


@pytest.mark.parametrize(
    ("transaction", "status"),
    [
        (Transaction("image/png", base64url.encode(b"\x89PNG\r\n\x1a\n")), AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT),
        (
            Transaction("text/plain", base64url.encode(b"pay\x1b[2K nothing")),
            AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT,
        ),
        (Transaction("text/plain", base64url.encode("für".encode())), AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT),
    ],
)
def test_what_cannot_be_shown_faithfully_is_not_signed(
    store: KeyStore, state: AuthenticatorState, transaction: Transaction, status: AsmStatus
) -> None:
    asm = asm_with(store, state, Prompt(lambda _: True))
    key_id = register(asm, "F10B#0112")
    with pytest.raises(AsmError) as refused:
        asm.authenticate(
            "F10B#0112", app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id], transactions=[transaction]
        )
    assert refused.value.status is status


def test_a_silent_model_confirms_no_transaction(asm: Asm) -> None:
    key_id = register(asm)
    with pytest.raises(AsmError) as refused:
        asm.authenticate(
            RAW_FULL, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id], transactions=[TRANSACTION]
        )
    assert refused.value.status is AsmStatus.ACCESS_DENIED


def test_keys_of_another_application_caller_or_model_are_not_used(
    asm: Asm, store: KeyStore, state: AuthenticatorState
) -> None:
    key_id = register(asm)
    other_caller = Asm(store, state, AutoApprove(), caller_id="android:apk-key-hash:other")
    assert status_of(asm, [key_id], app_id="https://evil.example/facets") is AsmStatus.ACCESS_DENIED
    assert status_of(asm, [key_id], aaid="F10B#0123") is AsmStatus.ACCESS_DENIED
    assert status_of(other_caller, [key_id]) is AsmStatus.ACCESS_DENIED
    assert other_caller.get_registrations(RAW_FULL, APP_ID) == []
    with pytest.raises(AsmError) as refused:
        other_caller.deregister(RAW_FULL, app_id=APP_ID, key_id=key_id)
    assert refused.value.status is AsmStatus.ACCESS_DENIED
    assert asm.get_registrations(RAW_FULL, APP_ID) == [key_id]


def test_a_key_deleted_behind_our_back_has_disappeared(asm: Asm, store: KeyStore) -> None:
    key_id = register(asm)
    store.delete(key_id)
    assert status_of(asm, [key_id]) is AsmStatus.KEY_DISAPPEARED_PERMANENTLY


def test_deregistering_deletes_the_key_and_says_nothing_about_unknown_ones(asm: Asm, store: KeyStore) -> None:
    key_id = register(asm)
    assert asm.deregister(RAW_FULL, app_id=APP_ID, key_id=bytes(32)) == []
    assert asm.deregister(RAW_FULL, app_id=APP_ID, key_id=key_id) == [key_id]
    assert key_id not in {info.key_id for info in store.list()}
    assert asm.get_registrations(RAW_FULL, APP_ID) == []


def test_of_several_accounts_the_user_chooses_and_gets_the_newest_key(
    store: KeyStore, state: AuthenticatorState
) -> None:
    offered: list[list[str]] = []

    def choose(usernames: Sequence[str]) -> int:
        offered.append(list(usernames))
        return 1

    asm = asm_with(store, state, Prompt(lambda _: True, choose))
    register(asm, "F10B#0112", "jeff")
    register(asm, "F10B#0112", "ann")
    newest_of_jeff = register(asm, "F10B#0112", "jeff")
    raw = asm.authenticate("F10B#0112", app_id=APP_ID, final_challenge=FC_PARAMS)
    assert offered == [["ann", "jeff"]]  # the newest last, which those who choose by themselves take
    assert parse_authentication_assertion(raw).key_id == newest_of_jeff


def no_answer(_: object) -> bool | None:
    return None


VERIFIERS: list[tuple[UserVerifier, AsmStatus]] = [
    (Deny(), AsmStatus.USER_CANCELLED),
    (Prompt(lambda _: False), AsmStatus.USER_CANCELLED),
    (Prompt(no_answer), AsmStatus.USER_NOT_RESPONSIVE),
]


@pytest.mark.parametrize(("verifier", "status"), VERIFIERS, ids=["deny", "no", "silence"])
def test_without_the_user_nothing_is_made_or_signed(
    store: KeyStore, state: AuthenticatorState, verifier: UserVerifier, status: AsmStatus
) -> None:
    key_id = register(asm_with(store, state, Prompt(lambda _: True)), "F10B#0112")
    keys = len(store.list())
    asm = asm_with(store, state, verifier)
    with pytest.raises(AsmError) as refused:
        register(asm, "F10B#0112")
    assert refused.value.status is status
    assert len(store.list()) == keys
    assert status_of(asm, [key_id], aaid="F10B#0112") is status


def test_a_verifier_that_verified_less_than_the_model_claims_signs_nothing(
    store: KeyStore, state: AuthenticatorState
) -> None:
    class Boaster(AutoApprove):
        method = UserVerification.PASSCODE

    asm = asm_with(store, state, Boaster())
    assert {"F10B#0111", "F10B#0121", "F10B#0191", "F10B#01A1"} <= set(asm.authenticators)
    assert {aaid[-1] for aaid in asm.authenticators} == {"1"}
    with pytest.raises(AsmError) as refused:
        register(asm, "F10B#0111")
    assert refused.value.status is AsmStatus.ACCESS_DENIED


def test_the_token_itself_checks_the_pin_for_each_operation(store: KeyStore, state: AuthenticatorState) -> None:
    answers = iter([SOFTHSM_PIN, "000000", SOFTHSM_PIN])
    asm = asm_with(store, state, TokenPin(store, lambda _request, _tries: next(answers)))
    key_id = register(asm, "F10B#0111")
    raw = asm.authenticate("F10B#0111", app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id])
    assert parse_authentication_assertion(raw).key_id == key_id
    assert next(answers, None) is None


def test_three_wrong_pins_are_refused_and_a_missing_pin_is_a_cancellation(
    store: KeyStore, state: AuthenticatorState
) -> None:
    wrong = asm_with(store, state, TokenPin(store, lambda _request, _tries: "000000"))
    absent = asm_with(store, state, TokenPin(store, lambda _request, _tries: None))
    for asm, status in ((wrong, AsmStatus.ACCESS_DENIED), (absent, AsmStatus.USER_CANCELLED)):
        with pytest.raises(AsmError) as refused:
            register(asm, "F10B#0111")
        assert refused.value.status is status


def test_threads_never_sign_one_counter_twice(asm: Asm) -> None:
    key_id = register(asm)
    counters: list[int] = []

    def work() -> None:
        for _ in range(20):
            raw = asm.authenticate(RAW_FULL, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id])
            counters.append(parse_authentication_assertion(raw).sign_counter)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(counters)) == len(counters) == 80


def test_too_long_names_are_refused(asm: Asm) -> None:
    for app_id, username in ((f"https://{'a' * 600}", "jeff"), (APP_ID, "j" * 129), (APP_ID, "")):
        with pytest.raises(AsmError):
            asm.register(RAW_FULL, app_id=app_id, username=username, final_challenge=FC_PARAMS, attestation_type=FULL)


def test_an_unknown_model_is_a_disconnected_authenticator(asm: Asm) -> None:
    assert status_of(asm, None, aaid="0000#0000") is AsmStatus.AUTHENTICATOR_DISCONNECTED


def test_deny_refuses_to_choose(store: KeyStore) -> None:
    with pytest.raises(AuthenticatorError):
        Deny().choose(["a", "b"])
