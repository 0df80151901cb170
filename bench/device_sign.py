"""sign-KIND: signatures a second with a key of the store, against the barest python-pkcs11 loop on the same device."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Mechanism, ObjectClass

from bench.apart import report
from bench.measure import ROUNDS, Row, row_of, side_by_side
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.uri import parse_uri
from fidoloop.p11kit import P11KitServer, find_p11_kit_module, through, use_p11_kit
from fidoloop.softhsm import find_softhsm_module, make_softhsm_token
from fidoloop.swtpm import SoftwareTpm

PIN = "1234567"
KEY_ID = b"bench"
DIGEST = bytes(32)
WANTED = 0.85
THREADS = (1, 2, 4)


@contextmanager
def softhsm(directory: Path) -> Iterator[str]:
    yield make_softhsm_token(directory / "softhsm", "bench", PIN, PIN)


@contextmanager
def proxy(directory: Path) -> Iterator[str]:
    uri = make_softhsm_token(directory / "softhsm", "bench", PIN, PIN)
    yield through(uri, use_p11_kit(directory, {"softhsm": {"module": str(find_softhsm_module())}}))


@contextmanager
def client(directory: Path) -> Iterator[str]:
    uri = make_softhsm_token(directory / "softhsm", "bench", PIN, PIN)
    with P11KitServer(find_softhsm_module()):
        yield through(uri, find_p11_kit_module("p11-kit-client.so"))


@contextmanager
def tpm(directory: Path) -> Iterator[str]:
    with SoftwareTpm(directory / "tpm") as device:
        yield device.make_token("bench", PIN, PIN)


DEVICES = {"softhsm": softhsm, "softhsm-p11kit-proxy": proxy, "p11kit-client": client, "tpm": tpm}


@dataclass(frozen=True)
class Device:
    """An open store with a key in it, and the same token through python-pkcs11 alone."""

    store: KeyStore
    key: EcHardwareKey
    token: pkcs11.Token

    def bare_key(self) -> Any:  # noqa: ANN401 - a class python-pkcs11 makes for the object
        """Return the key in a session of its own; the store has logged the process in already."""
        session = self.token.open(rw=True)
        return session.get_key(object_class=ObjectClass.PRIVATE_KEY, id=KEY_ID)


@contextmanager
def opened(kind: str) -> Iterator[Device]:
    with ExitStack() as entered:
        directory = entered.enter_context(tempfile.TemporaryDirectory(prefix="fidoloop-bench-"))
        uri = entered.enter_context(DEVICES[kind](Path(directory)))
        store = entered.enter_context(open_key_store(uri))
        key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=KEY_ID, label="bench")
        assert isinstance(key, EcHardwareKey)
        key.sign_digest_raw(DIGEST)  # logs in again where making the key started the module anew
        library = pkcs11.lib(os.path.realpath(parse_uri(uri).module_path or ""))
        yield Device(store, key, library.get_token(token_label="bench"))  # noqa: S106 - a label


def sign(kind: str) -> list[Row]:
    """Measure one device on one thread."""
    with opened(kind) as device:
        subject, floor = _signing(device.key), _bare(device.bare_key())
        return [side_by_side(f"sign-{kind}", subject, floor, wanted=WANTED, seconds=0.5)]


def threads(kind: str) -> list[Row]:
    """Measure one store from 1, 2 and 4 threads.

    The floor is python-pkcs11 with nothing around it: through p11-kit-proxy a session for each thread; directly, where
    a second thread crashes the process, one thread.
    """
    rows = []
    with opened(kind) as device:
        apart = "proxy" in kind
        bare = [_bare(device.bare_key()) for _ in range(max(THREADS) if apart else 1)]
        for number in THREADS:
            subjects, floors = [_signing(device.key)] * number, bare[: number if apart else 1]
            pairs = [(together(subjects), together(floors)) for _ in range(ROUNDS)]
            rows.append(row_of(f"{kind}-{number}-threads", pairs, wanted=None))
    return rows


def _signing(key: EcHardwareKey) -> Callable[[], object]:
    return lambda: key.sign_digest_raw(DIGEST)


def _bare(key: Any) -> Callable[[], object]:  # noqa: ANN401 - a python-pkcs11 object
    return lambda: key.sign(DIGEST, mechanism=Mechanism.ECDSA)


def together(works: list[Callable[[], object]], seconds: float = 0.3) -> float:
    """Return how often a second all works run together, each on a thread of its own, over about `seconds`."""
    start, counts = threading.Barrier(len(works) + 1), [0] * len(works)
    ends = [0.0] * len(works)

    def run(slot: int) -> None:
        work, count = works[slot], 0
        start.wait()
        deadline = time.perf_counter() + seconds
        while (now := time.perf_counter()) < deadline:
            work()
            count += 1
        counts[slot], ends[slot] = count, now

    running = [threading.Thread(target=run, args=(slot,)) for slot in range(len(works))]
    for thread in running:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in running:
        thread.join()
    return sum(counts) / (max(ends) - began)


if __name__ == "__main__":
    what, device_kind = sys.argv[1:]
    report(sign(device_kind) if what == "sign" else threads(device_kind))
