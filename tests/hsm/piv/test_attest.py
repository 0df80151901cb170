"""What a PIV card attests, held against a verifier's rules, and the attestation key of UAF in a card."""

import datetime
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fidoloop.authenticator.attestation import ATTESTATION_KEY_ID, attest_init, load_attestation
from fidoloop.hsm.check import Outcome, check_store, missing_for_loop, unchecked_for_loop
from fidoloop.hsm.errors import KeyGone, NotSupported
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.piv.keys import REFERENCES
from fidoloop.hsm.sim.factory import Factory
from fidoloop.protocol.evidence.keys import allowed_key
from fidoloop.protocol.evidence.values import (
    Anchors,
    Appraisal,
    EvidenceCheck,
    EvidenceKind,
    EvidenceRefusal,
    Source,
    Tier,
)
from fidoloop.protocol.evidence.verify import verify_evidence

from .conftest import NOW, Desk
from .quirky_card import PLAIN

NONCE = bytes(range(32))


def made(store: KeyStore, algorithm: KeyAlgorithm = KeyAlgorithm.P256, usage: KeyUsage = KeyUsage.SIGN) -> HardwareKey:
    return store.generate(algorithm, usage, key_id=os.urandom(16), label="attested")


def appraised(store: KeyStore, key: HardwareKey, root: x509.Certificate, nonce: bytes = NONCE) -> Appraisal:
    return verify_evidence(
        store.attest(key.key_id, NONCE),
        anchors=Anchors((root,)),
        expected_nonce=nonce,
        expected_key=allowed_key(key.public_key()),
        at=datetime.datetime.now(datetime.UTC),
    )


@pytest.mark.parametrize("algorithm", sorted(REFERENCES))
def test_a_card_attests_the_keys_it_made(
    store: KeyStore, fidoloop_card_factory: Factory, algorithm: KeyAlgorithm
) -> None:
    key = made(store, algorithm)
    found = appraised(store, key, fidoloop_card_factory.certificate)
    assert (found.kind, found.tier, found.source) == (EvidenceKind.PIV, Tier.ATTESTED, Source.DEVICE)
    token = store.info()
    said = {name: str(found.claims[name]) for name in ("slot", "firmware", "serial")}
    assert said == {"slot": key.info.place, "firmware": token.firmware, "serial": token.serial}
    assert (found.claims["pin_policy"], found.claims["simulated"]) == ("once", True)


def test_another_factorys_root_and_another_nonce_are_refused(store: KeyStore, fidoloop_card_factory: Factory) -> None:
    key = made(store)
    for root, nonce, check in (
        (Factory.create(now=NOW).certificate, NONCE, EvidenceCheck.ANCHOR),
        (fidoloop_card_factory.certificate, bytes(32), EvidenceCheck.POSSESSION),
    ):
        with pytest.raises(EvidenceRefusal) as caught:
            appraised(store, key, root, nonce)
        assert caught.value.check is check


def test_a_key_that_only_agrees_cannot_show_that_it_is_there(store: KeyStore) -> None:
    with pytest.raises(NotSupported, match="only a key that signs"):
        store.attest(made(store, usage=KeyUsage.DERIVE).key_id, NONCE)


def test_a_key_that_is_not_there_has_no_evidence(store: KeyStore) -> None:
    with pytest.raises(KeyGone):
        store.attest(b"nobody", NONCE)


def test_a_card_without_attestation_says_so(desk: Desk) -> None:
    desk.card.unknown = set(PLAIN)
    with desk.open() as store:
        key = made(store)
        with pytest.raises(NotSupported, match="attests no keys"):
            store.attest(key.key_id, NONCE)


def test_the_attestation_key_of_uaf_takes_one_slot_and_vouches_for_itself(store: KeyStore) -> None:
    made_first = attest_init(store, now=NOW)
    (info,) = store.list()
    assert info.key_id == ATTESTATION_KEY_ID
    assert made_first.chain == (made_first.root,)
    root = x509.load_der_x509_certificate(made_first.root)
    root.verify_directly_issued_by(root)
    assert isinstance(root.public_key(), ec.EllipticCurvePublicKey)
    for again in (attest_init(store, now=NOW), load_attestation(store)):
        assert again is not None
        assert (again.chain, again.root, again.key.key_id) == (made_first.chain, made_first.root, ATTESTATION_KEY_ID)
    assert root.public_bytes(Encoding.DER) == store.certificate(ATTESTATION_KEY_ID)


def test_the_loop_can_run_on_a_card_and_a_check_leaves_it_as_it_was(store: KeyStore) -> None:
    attest_init(store, now=NOW)
    before = store.list()
    results = check_store(store, mac_key_id=b"mac", create=True)
    assert store.list() == before
    other = {(one.algorithm, one.operation): one.outcome for one in results if one.outcome is not Outcome.OK}
    assert other == {("hmac", "authenticate (HMAC)"): Outcome.NOT_SUPPORTED}
    assert missing_for_loop(results) == unchecked_for_loop(results) == ()
