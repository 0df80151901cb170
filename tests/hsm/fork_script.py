"""Run by test_fork.py in a process of its own: forks while threads sign. Arguments: URI. Prints one line a result."""

import os
import threading
import traceback
import warnings

from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyInfo, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store

# Python 3.12 warns of every fork in a process with threads: that fork is what is tried here.
warnings.filterwarnings("ignore", message=".*multi-threaded.*fork.*", category=DeprecationWarning)

CHILDREN = 6


def child(store: KeyStore, key: EcHardwareKey, number: int) -> None:
    """Use the inherited key from two threads, and everything else."""
    token = store._token  # type: ignore[attr-defined]  # SoftHSM forgives a child that goes on with what it inherited
    assert token._session is None
    assert token.module._forked
    failures: list[BaseException] = []

    def sign() -> None:
        try:
            for _ in range(20):
                assert len(key.sign_digest_raw(bytes(32))) == 64
        except BaseException as error:  # noqa: BLE001  # told to the parent by the exit code
            failures.append(error)

    threads = [threading.Thread(target=sign) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert token._session is not None
    assert not token.module._forked
    made = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"child%d" % number, label="")
    assert made.info in store.list()
    mac = store.mac_key(b"mac", "")
    assert mac is not None
    assert len(mac.mac(b"")) == 32
    if number % 2:  # a grandchild, too
        assert run_child(store, key, number + 101) == 0


def run_child(store: KeyStore, key: EcHardwareKey, number: int) -> int:
    """Fork, use the store in the child, return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child(store, key, number)
            code = 0
        except BaseException:  # noqa: BLE001  # a child must not return into the parent's code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(uri: str) -> None:
    """Sign in four threads and fork meanwhile."""
    store = open_key_store(uri)
    key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"key", label="")
    assert isinstance(key, EcHardwareKey)
    store.mac_key(b"mac", "")
    stop = threading.Event()
    counts = [0] * 4
    failures: list[BaseException] = []

    def sign(slot: int) -> None:
        try:
            while not stop.is_set():
                key.sign_digest_raw(bytes(32))
                counts[slot] += 1
        except BaseException as error:  # noqa: BLE001  # reported below
            failures.append(error)

    session = store._token._session  # type: ignore[attr-defined]  # to see that it outlives the forks
    threads = [threading.Thread(target=sign, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    codes = [run_child(store, key, number * 2 + n) for number in range(CHILDREN // 2) for n in (0, 1)]
    before = list(counts)
    while not failures and any(now <= then for now, then in zip(counts, before, strict=True)):
        pass  # the threads go on signing after the last fork
    stop.set()
    for thread in threads:
        thread.join()
    print("children", *codes)  # noqa: T201
    print("failures", *map(repr, failures))  # noqa: T201
    print("session kept", store._token._session is session)  # type: ignore[attr-defined]  # noqa: T201
    print("keys", sum(info.key_id.startswith(b"child") for info in open_again(uri)))  # noqa: T201


def open_again(uri: str) -> list[KeyInfo]:
    """List the keys by another process's eyes: SoftHSM shows what the children made."""
    with open_key_store(uri) as store:
        return [*store.list()]


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
