"""Keys the phone adopted: which may be, what a registration makes of one, and what is claimed of it."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fidoloop.authenticator.adopted import AdoptedKeys
from fidoloop.authenticator.asm import Asm
from fidoloop.authenticator.attestation import ATTESTATION_KEY_ID
from fidoloop.authenticator.errors import AsmError, TamperedStateError
from fidoloop.authenticator.models import adopted_models, metadata_statement, models_of
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.user_verification import AutoApprove
from fidoloop.hsm.errors import KeyGone, KeyInUse, KeyRefused, KeyStoreError, NotSupported
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, TokenInfo
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.attestation import verify_attestation
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType, KeyProtection, MatcherProtection, UserVerification
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.status import AsmStatus
from tests.authenticator.conftest import APP_ID, FACET, FC_PARAMS, NOW

AAID = "F10B#0793"
SURROGATE = int(AttestationType.BASIC_SURROGATE)


def key_in(
    store: KeyStore, usage: KeyUsage = KeyUsage.SIGN, algorithm: KeyAlgorithm = KeyAlgorithm.P256
) -> EcHardwareKey:
    """A key that somebody made in the token, with an id as others choose them."""
    key = store.generate(algorithm, usage, key_id=os.urandom(3), label="another's")
    assert isinstance(key, EcHardwareKey)
    return key


@pytest.fixture
def open_state(store: KeyStore, tmp_path: Path) -> Callable[[], AuthenticatorState]:
    return lambda: AuthenticatorState(tmp_path / "phone.sqlite", store)


def adopting(state: AuthenticatorState, store: KeyStore, key: EcHardwareKey) -> Asm:
    AdoptedKeys(state, store).adopt(key.key_id)
    return Asm(store, state, AutoApprove(), caller_id=FACET)


def register(asm: Asm, aaid: str = AAID, username: str = "jeff") -> tuple[bytes, bytes]:
    return asm.register(aaid, app_id=APP_ID, username=username, final_challenge=FC_PARAMS, attestation_type=SURROGATE)


def sign(asm: Asm, key_id: bytes, aaid: str = AAID) -> bytes:
    return asm.authenticate(aaid, app_id=APP_ID, final_challenge=FC_PARAMS, key_ids=[key_id])


@pytest.mark.parametrize("aaid", [AAID, "F10B#07A3"])
def test_a_registration_takes_the_adopted_key_and_signs_with_it(
    state: AuthenticatorState, store: KeyStore, aaid: str
) -> None:
    key = key_in(store)
    asm = adopting(state, store, key)
    before = store.list()
    key_id, raw = register(asm, aaid)
    assert store.list() == before
    assert len(key_id) == 32
    assert key_id != key.key_id
    registered = parse_registration_assertion(raw)
    verify_attestation(registered, roots=(), at=NOW)
    public = load_public_key(registered.signature_algorithm, registered.public_key_format, registered.public_key)
    assert public == key.public_key()
    signed = parse_authentication_assertion(sign(asm, key_id, aaid))
    verify_signature(public, registered.signature_algorithm, signed.signature, signed.signed_data)
    assert (signed.key_id, signed.sign_counter) == (key_id, 1)


def test_an_adopted_key_is_offered_first_while_it_is_free_and_last_after(
    state: AuthenticatorState, store: KeyStore
) -> None:
    asm = adopting(state, store, key_in(store))
    made = len(asm.authenticators) - 2
    assert [facts.aaid[6] for facts in asm.get_info(APP_ID)] == ["7", "7", *("1" * made)]
    register(asm)
    assert [facts.aaid[6] for facts in asm.get_info(APP_ID)] == [*("1" * made), "7", "7"]


def test_one_key_serves_one_registration_at_a_time(
    store: KeyStore, open_state: Callable[[], AuthenticatorState]
) -> None:
    state = open_state()
    key = key_in(store)
    asm = adopting(state, store, key)
    key_id, _ = register(asm)
    with pytest.raises(AsmError) as full:
        register(asm, username="ann")
    assert full.value.status is AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES
    with pytest.raises(KeyInUse):
        asm.adopted.forget(key.key_id)
    assert asm.deregister(AAID, app_id=APP_ID, key_id=key_id) == [key_id]
    assert key.info in store.list()
    again, _ = register(asm, username="ann")
    assert again != key_id
    with pytest.raises(AsmError) as gone:
        sign(asm, key_id)
    assert gone.value.status is AsmStatus.ACCESS_DENIED
    state.close()
    reopened = open_state()
    assert sign(Asm(store, reopened, AutoApprove(), caller_id=FACET), again)
    reopened.close()


def test_a_registration_that_fails_frees_the_key(
    state: AuthenticatorState, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asm = adopting(state, store, key_in(store))

    def full(_: object) -> None:
        raise OSError("no room for the row")

    with monkeypatch.context() as broken:
        broken.setattr(state, "add", full)
        with pytest.raises(OSError, match="no room"):
            register(asm)
    assert [entry.key_id for entry in asm.adopted.all()] == [None]
    register(asm)


def test_a_forgotten_key_stays_in_the_token_and_can_be_adopted_again(
    state: AuthenticatorState, store: KeyStore
) -> None:
    key = key_in(store)
    asm = adopting(state, store, key)
    asm.adopted.forget(key.key_id)
    assert asm.adopted.all() == []
    assert key.info in store.list()
    with pytest.raises(KeyGone):
        asm.adopted.forget(key.key_id)
    asm.adopted.adopt(key.key_id)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda store: key_in(store, KeyUsage.DERIVE).key_id, NotSupported),
        (lambda store: key_in(store, algorithm=KeyAlgorithm.P384).key_id, NotSupported),
        (
            lambda store: store.generate(KeyAlgorithm.RSA2048, KeyUsage.SIGN, key_id=os.urandom(3), label="").key_id,
            NotSupported,
        ),
        (lambda _: b"none", KeyGone),
        (lambda _: ATTESTATION_KEY_ID, KeyInUse),
    ],
    ids=["key agreement", "P-384", "RSA", "absent", "attestation"],
)
def test_a_key_that_cannot_serve_is_not_adopted(
    state: AuthenticatorState, store: KeyStore, make: Callable[[KeyStore], bytes], error: type[KeyStoreError]
) -> None:
    keys = AdoptedKeys(state, store)
    with pytest.raises(error):
        keys.adopt(make(store))
    assert keys.all() == []


def test_a_key_is_adopted_once_and_a_registrations_own_never(state: AuthenticatorState, store: KeyStore) -> None:
    key = key_in(store)
    asm = adopting(state, store, key)
    with pytest.raises(KeyInUse):
        asm.adopted.adopt(key.key_id)
    own, _ = register(asm, "F10B#0193")
    with pytest.raises(KeyInUse):
        asm.adopted.adopt(own)
    assert len(asm.adopted.all()) == 1


def test_a_key_whose_signature_is_not_its_own_is_refused(
    state: AuthenticatorState, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a card whose public key is another's: nothing it signs would ever verify."""
    key, other = key_in(store), store.key(ATTESTATION_KEY_ID).info.public_key
    monkeypatch.setattr(type(key), "public_key", lambda _: other)
    with pytest.raises(KeyRefused):
        AdoptedKeys(state, store).adopt(key.key_id)


def test_a_row_changed_from_outside_is_not_used(
    store: KeyStore, open_state: Callable[[], AuthenticatorState], tmp_path: Path
) -> None:
    state = open_state()
    asm = adopting(state, store, key_in(store))
    key_id, _ = register(asm)
    other = key_in(store)
    state.close()
    with sqlite3.connect(tmp_path / "phone.sqlite") as database:
        database.execute("UPDATE adopted_key SET token_key_id = ?", (other.key_id,))
    database.close()
    state = open_state()
    with pytest.raises(TamperedStateError):
        AdoptedKeys(state, store).open(key_id)
    state.close()


def test_adopted_models_claim_less() -> None:
    for verification in UserVerification.PASSCODE, UserVerification.PRESENCE, UserVerification.NONE:
        for model in adopted_models(verification):
            statement = metadata_statement(model, ("MIIB",))
            assert model.aaid.startswith("F10B#07")
            assert statement.keyProtection == KeyProtection.SOFTWARE
            assert statement.matcherProtection == MatcherProtection.SOFTWARE
            assert statement.attestationTypes == (SURROGATE,)
            assert statement.attestationRootCertificates == ()


def test_a_token_that_makes_no_keys_has_adopted_models_only() -> None:
    token = TokenInfo("opensc", "card", "piv_II", "PKCS#15 emulated", "1", "1", True, frozenset(), makes_keys=False)
    for verification in UserVerification.PASSCODE, UserVerification.NONE:
        assert models_of(token, verification) == adopted_models(verification)
