"""A store in rough hands: its token moved away, two processes at once, hundreds of threads."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from fidoloop.hsm.errors import KeyGone, KeyStoreError, ModuleError, TokenAbsent
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.softhsm import current_softhsm_directory

from .conftest import PIN

DIGEST = hashlib.sha256(b"message").digest()
PREHASHED = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
THREADS, EACH = 256, 4


def made(store: KeyStore, key_id: bytes = b"key") -> EcHardwareKey:
    key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=key_id, label="")
    assert isinstance(key, EcHardwareKey)
    return key


def directory_of(store: KeyStore) -> Path:
    """The directory in which SoftHSM has the store's token: its name ends in the serial number."""
    base = current_softhsm_directory()
    assert base is not None
    serial = store.info().serial
    found = [path for path in (base / "tokens").iterdir() if path.name.replace("-", "").endswith(serial)]
    assert len(found) == 1
    return found[0]


USES: dict[str, Callable[[KeyStore, EcHardwareKey], object]] = {
    "sign": lambda _, key: key.sign_digest_raw(DIGEST),
    "verify_pin": lambda store, _: store.verify_pin(PIN),
    "generate": lambda store, _: store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"other", label=""),
    "open a key": lambda store, _: store.key(b"nothing"),
}


@pytest.mark.parametrize(
    ("use", "error"),
    [("sign", TokenAbsent), ("verify_pin", TokenAbsent), ("generate", ModuleError), ("open a key", KeyGone)],
)
def test_a_token_moved_away_is_missed_and_found_again(
    store: KeyStore, tmp_path: Path, use: str, error: type[KeyStoreError]
) -> None:
    """SoftHSM itself goes on with an empty token for a while; a key that was there is missed at once."""
    key = made(store)
    directory = directory_of(store)
    directory.rename(tmp_path / "away")
    try:
        for _ in range(2):
            with pytest.raises(error):
                USES[use](store, key)
        for _ in range(2):
            with pytest.raises(TokenAbsent):
                key.sign_digest_raw(DIGEST)
            with pytest.raises(TokenAbsent):
                store.list()
    finally:
        (tmp_path / "away").rename(directory)
    assert len(key.sign_digest_raw(DIGEST)) == 64
    assert key.info in store.list()


def test_two_processes_on_one_token_see_each_others_keys(store: KeyStore, uri: str) -> None:
    code = (
        "import sys\nfrom fidoloop.hsm.open import open_key_store\nfrom fidoloop.hsm.keystore import *\n"
        "with open_key_store(sys.argv[1]) as store:\n"
        "    for n in range(10):\n"
        "        key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b'theirs%d' % n, label='')\n"
        "        assert len(key.sign_digest_raw(bytes(32))) == 64\n"
        "        assert len(store.key(b'shared').sign_digest_raw(bytes(32))) == 64\n"
    )
    shared = made(store, b"shared")
    command = [sys.executable, "-c", code, uri]
    others = [subprocess.Popen([*command[:2], command[2].replace("theirs", name), uri]) for name in ("a", "b")]
    mine = [made(store, b"mine%d" % number) for number in range(10)]
    for key in (*mine, shared):
        key.public_key().verify(utils.encode_dss_signature(*_numbers(key.sign_digest_raw(DIGEST))), DIGEST, PREHASHED)
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(store.list()) == 31
    theirs = store.key(b"a7")
    assert isinstance(theirs, EcHardwareKey)
    assert len(theirs.sign_digest_raw(DIGEST)) == 64


def test_256_threads_sign_on_one_store(store: KeyStore) -> None:
    keys = [made(store, b"%d" % number) for number in range(4)]
    start = threading.Barrier(THREADS)

    def work(number: int) -> list[bytes]:
        start.wait()
        return [keys[(number + count) % len(keys)].sign_digest_raw(DIGEST) for count in range(EACH)]

    with ThreadPoolExecutor(THREADS) as pool:
        signatures = [one.result() for one in [pool.submit(work, number) for number in range(THREADS)]]
    assert len({raw for some in signatures for raw in some}) == THREADS * EACH
    for number, some in enumerate(signatures[:: THREADS // 16]):
        key = keys[(number * (THREADS // 16)) % len(keys)]
        key.public_key().verify(utils.encode_dss_signature(*_numbers(some[0])), DIGEST, PREHASHED)


def _numbers(raw: bytes) -> tuple[int, int]:
    return int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
