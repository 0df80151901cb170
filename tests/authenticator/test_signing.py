"""Signing under ALG_SIGN: what is no key of the algorithm is refused before anything is signed."""

from itertools import product

import pytest

from fidoloop.authenticator.key_kinds import KEY_KINDS, KeyKind
from fidoloop.authenticator.signing import signer
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyStore, KeyUsage, TokenInfo
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.signatures import SUPPORTED, verify_signature


@pytest.fixture(scope="module")
def keys(store: KeyStore) -> dict[KeyAlgorithm, HardwareKey]:
    """One key of every kind."""
    return {
        kind: store.generate(kind, KeyUsage.SIGN, key_id=f"signing-{kind}".encode(), label="") for kind in KeyAlgorithm
    }


KINDS = {kind.algorithm: kind.key for kind in KEY_KINDS}


@pytest.mark.parametrize(("algorithm", "key"), list(product(sorted(KINDS), KeyAlgorithm)))
def test_a_key_signs_under_its_own_algorithms_and_no_other(
    keys: dict[KeyAlgorithm, HardwareKey], algorithm: Algorithm, key: KeyAlgorithm
) -> None:
    if KINDS[algorithm] is not key:
        with pytest.raises(ValueError, match="the algorithm"):
            signer(keys[key], algorithm)
        return
    signature = signer(keys[key], algorithm)(b"message")
    verify_signature(keys[key].public_key(), algorithm, signature, b"message")


def test_there_is_a_model_for_every_algorithm_that_is_verified() -> None:
    assert set(KINDS) == SUPPORTED


@pytest.mark.parametrize("algorithm", [Algorithm.SM2_SM3_RAW, Algorithm.RSASSA_PKCSV15_SHA1_RAW])
def test_what_is_not_verified_is_not_signed(keys: dict[KeyAlgorithm, HardwareKey], algorithm: Algorithm) -> None:
    with pytest.raises(ValueError, match="is not supported"):
        signer(keys[KeyAlgorithm.RSA2048], algorithm)


@pytest.mark.parametrize("kind", KEY_KINDS, ids=lambda kind: kind.name)
def test_a_token_without_the_key_or_the_mechanism_has_no_such_model(kind: KeyKind) -> None:
    def token(algorithms: set[KeyAlgorithm], mechanisms: set[str]) -> TokenInfo:
        return TokenInfo("pkcs11", "", "", "", "", "", False, frozenset(mechanisms), algorithms=frozenset(algorithms))

    assert kind.is_made_by(token({kind.key}, {kind.mechanism}))
    assert not kind.is_made_by(token(set(KeyAlgorithm) - {kind.key}, {kind.mechanism}))
    if kind.mechanism:
        assert not kind.is_made_by(token({kind.key}, set()))
