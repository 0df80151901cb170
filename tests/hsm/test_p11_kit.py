"""Tokens through p11-kit: SoftHSM behind its proxy, SoftHSM's keys in another process, NSS softoken."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from fidoloop.authenticator.models import models_of
from fidoloop.hsm.errors import KeyExists, KeyGone, KeyRefused, NotSupported, PinIncorrect, TokenAbsent
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, RsaHardwareKey
from fidoloop.hsm.open import open_key_store
from fidoloop.p11kit import P11KitServer
from fidoloop.protocol.uaf.registry import KeyProtection, UserVerification
from tests.lab import NSS_PIN, SOFTHSM_PIN

from .test_store import certificate

pytestmark = pytest.mark.xdist_group("p11-kit")

DIGEST = hashlib.sha256(b"message").digest()
SHA256 = ec.ECDSA(hashes.SHA256())


@pytest.fixture(params=["proxy", "client"])
def uri(request: pytest.FixtureRequest) -> str:
    fixture = {"proxy": "fidoloop_proxy_token", "client": "fidoloop_remote_token"}[request.param]
    found: str = request.getfixturevalue(fixture)
    return found


@pytest.fixture
def store(uri: str) -> Iterator[KeyStore]:
    with open_key_store(uri) as opened:
        yield opened


def made(store: KeyStore, algorithm: KeyAlgorithm = KeyAlgorithm.P256, key_id: bytes | None = None) -> EcHardwareKey:
    key = store.generate(algorithm, KeyUsage.SIGN, key_id=key_id or os.urandom(32), label="a key")
    assert isinstance(key, EcHardwareKey)
    return key


def test_softhsm_is_known_through_p11_kit(store: KeyStore) -> None:
    info = store.info()
    assert (info.kind, info.hardware) == ("softhsm", False)
    assert "ECDSA" in info.mechanisms
    assert all(not name.startswith("0x7") for name in info.mechanisms)


def test_keys_are_made_listed_and_deleted(store: KeyStore) -> None:
    for algorithm in (KeyAlgorithm.P256, KeyAlgorithm.P384):
        key = made(store, algorithm)
        key.public_key().verify(key.sign(b"message", SHA256), b"message", SHA256)
        assert key.info in store.list()
        with pytest.raises(KeyExists):
            made(store, key_id=key.key_id)
        der = certificate(7, key)
        store.put_certificate(key.key_id, der, "lab")
        assert store.certificate(key.key_id) == der
        store.delete(key.key_id)
        with pytest.raises(KeyGone):
            key.sign(b"message", SHA256)


def test_rsa_keys_sign_and_decrypt(store: KeyStore) -> None:
    key = store.generate(KeyAlgorithm.RSA2048, KeyUsage.DECRYPT, key_id=os.urandom(16), label="")
    assert isinstance(key, RsaHardwareKey)
    for algorithm in (hashes.SHA256(), hashes.SHA1()):  # noqa: S303  # SoftHSM's own OAEP has SHA-1 only
        oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
        message = key.public_key().encrypt(b"message", oaep)
        assert key.decrypt(message, oaep) == b"message"
        with pytest.raises(ValueError, match="Decryption failed"):
            key.decrypt(bytes((message[0] ^ 1,)) + message[1:], oaep)


def test_key_agreement_is_there_through_the_proxy_and_not_over_the_rpc(store: KeyStore, uri: str) -> None:
    key_id = os.urandom(16)
    if "p11-kit-client" in uri:
        with pytest.raises(NotSupported, match="CKM_ECDH1_DERIVE"):
            store.generate(KeyAlgorithm.P256, KeyUsage.DERIVE, key_id=key_id, label="")
        return
    key = store.generate(KeyAlgorithm.P256, KeyUsage.DERIVE, key_id=key_id, label="")
    assert isinstance(key, EcHardwareKey)
    other = ec.generate_private_key(ec.SECP256R1())
    assert key.exchange(ec.ECDH(), other.public_key()) == other.exchange(ec.ECDH(), key.public_key())


def test_rows_have_macs_and_pins_are_checked(store: KeyStore, uri: str) -> None:
    mac = store.mac_key(b"mac", "rows")
    assert mac is not None
    code = mac.mac(b"row")
    with pytest.raises(PinIncorrect):
        store.verify_pin("000000")
    store.verify_pin(SOFTHSM_PIN)
    assert mac.mac(b"row") == code
    with open_key_store(uri) as second, pytest.raises(PinIncorrect):
        second.verify_pin("000000")


def test_threads_share_one_store(store: KeyStore) -> None:
    key = made(store)
    start = threading.Barrier(6)

    def work(number: int) -> None:
        start.wait()
        for count in range(10):
            if (number + count) % 5 == 0:
                assert key.info in store.list()
            message = f"{number} {count}".encode()
            key.public_key().verify(key.sign(message, SHA256), message, SHA256)

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, number) for number in range(6)]:
            done.result()


def test_a_fork_goes_on_with_the_store(store: KeyStore) -> None:
    key = made(store)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if len(key.sign_digest_raw(DIGEST)) == 64 and key.info in store.list() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(key.sign_digest_raw(DIGEST)) == 64


def test_a_server_that_dies_is_an_absent_token_and_one_started_anew_is_used(
    fidoloop_remote_token: str, fidoloop_p11_kit_server: P11KitServer
) -> None:
    with open_key_store(fidoloop_remote_token) as store:
        key = made(store)
        fidoloop_p11_kit_server.kill()
        try:
            for use in (
                lambda: key.sign_digest_raw(DIGEST),
                store.list,
                lambda: store.verify_pin(SOFTHSM_PIN),
                lambda: made(store),
                lambda: open_key_store(fidoloop_remote_token),
            ):
                with pytest.raises(TokenAbsent):
                    use()
        finally:
            fidoloop_p11_kit_server.start()
        assert len(key.sign_digest_raw(DIGEST)) == 64
        assert key.info in store.list()


def test_tokens_made_meanwhile_do_not_hide_this_one(
    fidoloop_remote_token: str, fidoloop_p11_kit_server: P11KitServer, fidoloop_make_token: Callable[[], str]
) -> None:
    """p11-kit numbers slots anew for every connection, and another token may come first."""
    with open_key_store(fidoloop_remote_token) as store:
        key = made(store)
        for _ in range(5):
            fidoloop_make_token()
        fidoloop_p11_kit_server.kill()
        fidoloop_p11_kit_server.start()
        assert len(key.sign_digest_raw(DIGEST)) == 64
        assert key.info in store.list()


# NSS softoken


def test_nss_softoken_is_known_and_refused_as_hardware(fidoloop_nss_token: str) -> None:
    with open_key_store(fidoloop_nss_token) as store:
        info = store.info()
        assert (info.kind, info.hardware, info.manufacturer) == ("nss", False, "Mozilla Foundation")
        protections = {model.key_protection for model in models_of(info, UserVerification.PASSCODE)}
        assert protections == {KeyProtection.SOFTWARE}
        for algorithm in (KeyAlgorithm.P256, KeyAlgorithm.RSA2048):
            with pytest.raises(KeyRefused, match="does not protect keys"):
                store.generate(algorithm, KeyUsage.SIGN, key_id=b"key", label="")
        with pytest.raises(KeyRefused):
            store.mac_key(b"mac", "")
        assert store.list() == []
        store.verify_pin(NSS_PIN)
        with pytest.raises(PinIncorrect):
            store.verify_pin("000000")
