"""python-pkcs11 crashes the process when two threads are in a module at once; stores may be shared all the same."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.hsm.errors import PinIncorrect
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store

from .conftest import PIN

THREADS, ROUNDS = 8, 12
SHA256 = ec.ECDSA(hashes.SHA256())


def work(store: KeyStore, number: int, start: threading.Barrier) -> None:
    """Everything a thread can do, mixed, in another order in every thread."""
    start.wait()
    for count in range(ROUNDS):
        name = f"{number}-{count}".encode()
        match (number + count) % 4:
            case 0:
                key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=name, label="")
                assert isinstance(key, EcHardwareKey)
                key.public_key().verify(key.sign(name, SHA256), name, SHA256)
            case 1:
                assert any(info.key_id == b"common" for info in store.list())
            case 2:
                mac = store.mac_key(b"mac", "")
                assert mac is not None
                assert len(mac.mac(name)) == 32
            case _:
                store.verify_pin(PIN)
        common = store.key(b"common")
        assert isinstance(common, EcHardwareKey)
        common.public_key().verify(common.sign(name, SHA256), name, SHA256)


@pytest.mark.parametrize("stores", ["one store", "a store each on one token", "two tokens of one module"])
def test_threads_sign_list_and_generate_at_once(make_token: Callable[[], str], stores: str) -> None:
    uris = [make_token() for _ in range(2 if stores.startswith("two") else 1)]
    opened = [open_key_store(uris[n % len(uris)]) for n in range(1 if stores == "one store" else THREADS)]
    for store in opened[: len(uris)]:
        store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"common", label="")
    start = threading.Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        done = [pool.submit(work, opened[n % len(opened)], n, start) for n in range(THREADS)]
        for one in done:
            one.result()
    assert sum(len(store.list()) for store in opened[: len(uris)]) == THREADS * ROUNDS // 4 + len(uris)
    for store in opened:
        store.close()


def test_signing_is_not_disturbed_by_wrong_pins(store: KeyStore) -> None:
    key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"key", label="")
    assert isinstance(key, EcHardwareKey)
    stop = threading.Event()

    def sign() -> int:
        count = 0
        while not stop.is_set():
            key.sign_digest_raw(bytes(32))
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        signers = [pool.submit(sign) for _ in range(3)]
        try:
            for _ in range(20):
                with pytest.raises(PinIncorrect):
                    store.verify_pin("000000")
        finally:
            stop.set()
        assert all(signer.result() for signer in signers)


def test_one_mac_key_is_made_by_many_threads(store: KeyStore) -> None:
    start = threading.Barrier(THREADS)

    def make() -> bytes:
        start.wait()
        key = store.mac_key(b"mac", "")
        assert key is not None
        return key.mac(b"row")

    with ThreadPoolExecutor(THREADS) as pool:
        codes = {one.result() for one in [pool.submit(make) for _ in range(THREADS)]}
    assert len(codes) == 1
