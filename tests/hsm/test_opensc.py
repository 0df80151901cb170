"""OpenSC's module over a virtual PIV card: keys others made, PINs the card counts, cards pulled out."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from fidoloop.authenticator.models import adopted_models, models_of
from fidoloop.hsm.errors import NotSupported, PinIncorrect, PinLocked, TokenAbsent
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, RsaHardwareKey
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import PIN, LabCard
from fidoloop.opensc import make_card_key, opensc_uri
from fidoloop.pcscd import PrivatePcscd
from fidoloop.protocol.uaf.registry import UserVerification

DIGEST = hashlib.sha256(b"message").digest()
SHA256 = ec.ECDSA(hashes.SHA256())
AUTHENTICATION, SIGNATURE, MANAGEMENT = b"\x01", b"\x02", b"\x03"  # 9A, 9C, 9D


@pytest.fixture(scope="module")
def shared(fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory) -> Iterator[KeyStore]:
    """A card in the other reader, for tests that leave it as it is; it has keys in 9A, 9C and 9D."""
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, slot=1) as card:
        for slot in ("9a", "9c", "9d"):
            make_card_key(card, slot)
        with open_key_store(opensc_uri(card.reader), pin=PIN) as opened:
            yield opened


@pytest.fixture
def store(fidoloop_opensc_token: str) -> Iterator[KeyStore]:
    with open_key_store(fidoloop_opensc_token) as opened:
        yield opened


def key_of(store: KeyStore, key_id: bytes = AUTHENTICATION) -> EcHardwareKey:
    key = store.key(key_id)
    assert isinstance(key, EcHardwareKey)
    return key


def tries_left(card: LabCard) -> int:
    """What the card itself says of its PIN."""
    return card.store.state.pin.left


def test_a_card_is_known_for_what_it_is_and_the_virtual_one_is_no_hardware(shared: KeyStore) -> None:
    info = shared.info()
    assert (info.kind, info.hardware, info.makes_keys, info.manufacturer) == ("opensc", False, False, "piv_II")
    assert models_of(info, UserVerification.PASSCODE) == adopted_models(UserVerification.PASSCODE)


def test_keys_others_made_are_listed_and_sign(shared: KeyStore) -> None:
    listed = [(info.key_id, info.pin_always) for info in shared.list()]
    assert listed == [(AUTHENTICATION, False), (SIGNATURE, True), (MANAGEMENT, False)]
    for key_id in (AUTHENTICATION, SIGNATURE, AUTHENTICATION, SIGNATURE):
        key = key_of(shared, key_id)
        key.public_key().verify(key.sign(b"message", SHA256), b"message", SHA256)
        der = shared.certificate(key_id)
        assert der is not None
        assert x509.load_der_x509_certificate(der).public_key() == key.public_key()


def test_key_agreement_works(shared: KeyStore) -> None:
    key, other = key_of(shared, MANAGEMENT), ec.generate_private_key(ec.SECP256R1())
    assert key.exchange(ec.ECDH(), other.public_key()) == other.exchange(ec.ECDH(), key.public_key())


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_keys_are_not_made_by_this_module(shared: KeyStore, algorithm: KeyAlgorithm) -> None:
    with pytest.raises(NotSupported, match="not made by this module"):
        shared.generate(algorithm, KeyUsage.SIGN, key_id=b"new", label="")
    assert shared.mac_key(b"mac", "") is None


def test_a_wrong_pin_costs_one_try_and_the_card_locks(
    fidoloop_card: LabCard, fidoloop_opensc_token: str, store: KeyStore
) -> None:
    key = key_of(store)
    with pytest.raises(PinIncorrect):
        store.verify_pin("999999")
    assert len(key.sign_digest_raw(DIGEST)) == 64
    assert tries_left(fidoloop_card) == 3  # the right PIN, given again, made the card count from the beginning
    store.close()
    told = []
    for left in (2, 1):
        with pytest.raises(PinIncorrect) as wrong:
            open_key_store(fidoloop_opensc_token, pin="999999")
        assert tries_left(fidoloop_card) == left
        told.append(wrong.value.tries_left)
    assert told == [None, 1]  # PKCS#11 has a flag for the last try, and none for others
    for pin in ("999999", PIN):
        with pytest.raises(PinLocked):
            open_key_store(fidoloop_opensc_token, pin=pin)
        assert tries_left(fidoloop_card) == 0


def test_a_pin_changed_elsewhere_is_sent_once_and_never_again(fidoloop_card: LabCard, store: KeyStore) -> None:
    """The card itself counts: a store that goes on with a PIN that was right once does not lock it."""
    keys = key_of(store), key_of(store, SIGNATURE)
    pin = fidoloop_card.store.state.pin
    pin.value = b"654321\xff\xff"
    fidoloop_card.pull()
    with pytest.raises(TokenAbsent):
        keys[0].sign_digest_raw(DIGEST)
    fidoloop_card.insert()
    for key in (*keys, *keys):
        with pytest.raises(PinIncorrect):
            key.sign_digest_raw(DIGEST)
    assert tries_left(fidoloop_card) == 2
    store.verify_pin("654321")
    for key in keys:
        assert len(key.sign_digest_raw(DIGEST)) == 64
    assert tries_left(fidoloop_card) == 3


def test_a_card_pulled_out_is_absent_and_works_again_when_it_is_back(fidoloop_card: LabCard, store: KeyStore) -> None:
    key = key_of(store)
    for _ in range(2):
        fidoloop_card.pull()
        for use in (lambda: key.sign_digest_raw(DIGEST), store.list, lambda: store.verify_pin(PIN)):
            with pytest.raises(TokenAbsent):
                use()
        fidoloop_card.insert()
        assert len(key.sign_digest_raw(DIGEST)) == 64
        assert len(store.list()) == 2


def test_threads_share_the_card(shared: KeyStore) -> None:
    keys = key_of(shared), key_of(shared, SIGNATURE)
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for count in range(5):
            key = keys[(number + count) % 2]
            key.public_key().verify(key.sign(b"message", SHA256), b"message", SHA256)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()


def test_an_rsa_key_decrypts_and_a_fork_goes_on_with_the_card(
    fidoloop_card: LabCard, fidoloop_opensc_token: str
) -> None:
    make_card_key(fidoloop_card, "9d", "RSA2048")
    with open_key_store(fidoloop_opensc_token) as store:
        rsa, signing = store.key(MANAGEMENT), key_of(store)
        assert isinstance(rsa, RsaHardwareKey)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        message = rsa.public_key().encrypt(b"message", oaep)
        with pytest.raises(ValueError, match="Decryption failed"):
            rsa.decrypt(b"\x01" + message[1:], oaep)
        assert rsa.decrypt(message, oaep) == b"message"
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if len(signing.sign_digest_raw(DIGEST)) == 64 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(signing.sign_digest_raw(DIGEST)) == 64
