"""What key stores hand out as evidence, held against the rules of a verifier."""

import datetime

import pytest

from fidoloop.hsm.errors import KeyGone, NotSupported
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, RsaHardwareKey
from fidoloop.protocol.evidence.values import Anchors, Appraisal, Tier
from fidoloop.protocol.evidence.verify import verify_evidence

NONCE = bytes(range(32))


def appraised(store: KeyStore, key: EcHardwareKey | RsaHardwareKey, anchors: Anchors) -> Appraisal:
    return verify_evidence(
        store.attest(key.key_id, NONCE),
        anchors=anchors,
        expected_nonce=NONCE,
        expected_key=key.public_key(),
        at=datetime.datetime.now(datetime.UTC),
    )


def test_softhsm_attests_by_claims_that_nobody_signs(
    shared: KeyStore, sign_key: EcHardwareKey, rsa_sign_key: RsaHardwareKey
) -> None:
    for key in (sign_key, rsa_sign_key):
        found = appraised(shared, key, Anchors())
        assert (found.tier, found.claims["token_kind"]) == (Tier.UNATTESTED, "softhsm")
        assert found.claims["note"] == "software token: these claims are worth nothing"


def test_p384_keys_attest_too(shared: KeyStore) -> None:
    key = shared.generate(KeyAlgorithm.P384, KeyUsage.SIGN, key_id=b"p384-attested", label="")
    assert isinstance(key, EcHardwareKey)
    assert appraised(shared, key, Anchors()).key == key.public_key()


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P521, KeyAlgorithm.SECP256K1, KeyAlgorithm.ED25519])
def test_keys_that_evidence_does_not_take_have_none(shared: KeyStore, algorithm: KeyAlgorithm) -> None:
    key = shared.generate(algorithm, KeyUsage.SIGN, key_id=f"{algorithm}-attested".encode(), label="")
    with pytest.raises(NotSupported, match="evidence is of P-256"):
        shared.attest(key.key_id, NONCE)


def test_a_key_that_cannot_sign_has_no_evidence(shared: KeyStore, derive_key: EcHardwareKey) -> None:
    with pytest.raises(NotSupported, match="only a key that signs"):
        shared.attest(derive_key.key_id, NONCE)


def test_a_key_that_is_not_there_has_no_evidence(shared: KeyStore) -> None:
    with pytest.raises(KeyGone):
        shared.attest(b"nobody", NONCE)


@pytest.mark.parametrize("size", [0, 7, 33])
def test_a_nonce_of_another_size_is_refused(shared: KeyStore, sign_key: EcHardwareKey, size: int) -> None:
    with pytest.raises(ValueError, match="8 to 32 bytes"):
        shared.attest(sign_key.key_id, bytes(size))
