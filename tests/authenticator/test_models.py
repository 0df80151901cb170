import pytest

from fidoloop.authenticator.attestation import attest_init, load_attestation
from fidoloop.authenticator.models import Form, StoreKind, all_models, metadata_statement, models_of
from fidoloop.hsm.keystore import KeyStore, TokenInfo
from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.metadata import combined_user_verification, parse_metadata
from fidoloop.protocol.uaf.registry import AttestationType, KeyProtection, MatcherProtection, UserVerification
from tests.authenticator.conftest import NOW


def token(kind: str, *, hardware: bool) -> TokenInfo:
    return TokenInfo(kind, "lab", "maker", "model", "1", "1.0", hardware, frozenset())


def test_every_aaid_is_one_model() -> None:
    aaids = [model.aaid for model in all_models()]
    assert len(set(aaids)) == len(aaids)


@pytest.mark.parametrize("kind", StoreKind)
def test_every_statement_is_read_back_as_written_and_contradicts_nothing(kind: StoreKind) -> None:
    models = [model for model in all_models() if model.store is kind]
    assert models
    for model in models:
        statement = metadata_statement(model, ())
        entry = parse_metadata(strictjson.encode(statement).encode())
        assert entry.statement == statement
        assert combined_user_verification(statement) == model.verification
        shows_nothing = model.verification is UserVerification.NONE or model.store is StoreKind.UAF_CARD
        assert (statement.tcDisplay == 0) == shows_nothing
        assert statement.isSecondFactorOnly == (model.form is Form.SECOND_FACTOR)
        assert bool(statement.tcDisplayPNGCharacteristics) == (model.form is Form.IMAGE_DISPLAY)


def test_the_digits_of_an_aaid_say_what_the_model_is() -> None:
    for model in all_models():
        page, store, algorithm, last = (int(digit, 16) for digit in model.aaid[5:])
        kind = model.key_kind
        assert 8 * (page % 4) + algorithm % 8 == kind.algorithm
        assert (algorithm >= 8) == (kind.attestation is AttestationType.BASIC_SURROGATE)
        assert (page >= 4) == kind.name.removesuffix(", surrogate").endswith(", DER key")
        assert store == model.store.value
        assert list(Form)[last // 4] is model.form
        verifications = (UserVerification.PASSCODE, UserVerification.PRESENCE, UserVerification.NONE)
        assert verifications[last % 4 - 1] is model.verification


def test_a_statement_names_the_versions_that_know_its_algorithm() -> None:
    for model in all_models():
        versions = {version.minor for version in metadata_statement(model, ()).upv}
        assert versions == ({0, 1} if model.key_kind.algorithm <= 6 else {1})


@pytest.mark.parametrize(
    ("kind", "hardware", "protection", "matcher"),
    [
        ("softhsm", False, KeyProtection.SOFTWARE, MatcherProtection.SOFTWARE),
        ("softhsm", True, KeyProtection.SOFTWARE, MatcherProtection.SOFTWARE),
        ("pkcs11", False, KeyProtection.SOFTWARE, MatcherProtection.SOFTWARE),
        ("pkcs11", True, KeyProtection.HARDWARE, MatcherProtection.ON_CHIP),
        ("tpm", False, KeyProtection.SOFTWARE, MatcherProtection.SOFTWARE),
        ("tpm", True, KeyProtection.HARDWARE, MatcherProtection.ON_CHIP),
        ("piv", False, KeyProtection.SOFTWARE, MatcherProtection.SOFTWARE),
        ("piv", True, KeyProtection.HARDWARE, MatcherProtection.ON_CHIP),
    ],
)
def test_hardware_is_claimed_only_where_the_token_is_hardware(
    kind: str, hardware: bool, protection: KeyProtection, matcher: MatcherProtection
) -> None:
    for model in models_of(token(kind, hardware=hardware), UserVerification.PASSCODE):
        assert (model.key_protection, model.matcher_protection) == (protection, matcher)


def test_a_tpm_is_a_kind_of_its_own_only_where_it_is_hardware() -> None:
    kinds = {
        hardware: models_of(token("tpm", hardware=hardware), UserVerification.PASSCODE) for hardware in (False, True)
    }
    assert [model.aaid[:7] for model in (kinds[False][0], kinds[True][0])] == ["F10B#02", "F10B#06"]


def test_surrogate_models_list_no_roots_and_full_ones_do() -> None:
    for model in all_models():
        roots = metadata_statement(model, ("MIIB",)).attestationRootCertificates
        assert bool(roots) == (model.key_kind.attestation is AttestationType.BASIC_FULL)


def test_attest_init_is_idempotent_and_the_key_stays_in_the_token(store: KeyStore) -> None:
    first = load_attestation(store)
    again = attest_init(store, now=NOW)
    assert first is not None
    assert (first.chain, first.root) == (again.chain, again.root)
    assert again.key.info.local
    assert again.key.info.never_extractable
