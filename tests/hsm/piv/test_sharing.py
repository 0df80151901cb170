"""One card, many users: threads, other processes with this store, programs that know nothing of it, forks."""

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.hsm.errors import DeviceTimeout, KeyGone
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyUsage
from fidoloop.hsm.piv import card as card_module
from fidoloop.hsm.piv import connection, pcsc
from fidoloop.hsm.piv.store import PivKeyStore

from .conftest import Desk
from .quirky_card import AUTHENTICATE, VERIFY

DIGEST = bytes(32)
SHA256 = ec.ECDSA(hashes.SHA256())
THREADS = 256
LOG_OUT = list(bytes.fromhex("0020ff80"))


def make(store: PivKeyStore, key_id: bytes = b"id", place: str = "") -> EcHardwareKey:
    key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=key_id, label="", place=place)
    assert isinstance(key, EcHardwareKey)
    return key


def sign_and_verify(key: EcHardwareKey, message: bytes) -> None:
    key.public_key().verify(key.sign(message, SHA256), message, SHA256)


class OtherProgram:
    """A PC/SC client that knows nothing of ours, in this process but with a context of its own."""

    def __init__(self, reader: str) -> None:
        from smartcard import scard

        self.api: Any = scard
        _, self.context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        code, self.card, _ = scard.SCardConnect(self.context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1)
        assert code == scard.SCARD_S_SUCCESS

    def transmit(self, command: list[int]) -> bytes:
        code, answer = self.api.SCardTransmit(self.card, self.api.SCARD_PCI_T1, command)
        assert code == self.api.SCARD_S_SUCCESS
        return bytes(answer)

    def close(self) -> None:
        self.api.SCardReleaseContext(self.context)


@pytest.fixture
def other(desk: Desk) -> Iterator[OtherProgram]:
    program = OtherProgram(desk.reader)
    yield program
    program.close()


def test_256_threads_sign_on_one_card(store: PivKeyStore) -> None:
    key = make(store)
    start = threading.Barrier(THREADS)

    def work(number: int) -> None:
        start.wait()
        sign_and_verify(key, str(number).encode())

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


def test_threads_generate_list_and_delete_beside_each_other(store: PivKeyStore) -> None:
    def work(number: int) -> None:
        key_id = bytes((number,))
        sign_and_verify(make(store, key_id), key_id)
        assert key_id in {info.key_id for info in store.list()}
        store.delete(key_id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1, 17)))
    assert store.list() == []


def test_two_stores_in_one_process_share_the_card(desk: Desk) -> None:
    with desk.open() as first, desk.open() as second:
        key = make(first)
        sign_and_verify(second.key(b"id"), b"message")  # type: ignore[arg-type]  # it is an EC key
        second.close()
        sign_and_verify(key, b"message")


@pytest.mark.parametrize("place", ["82", "9c"])
def test_no_other_programs_command_comes_between_verify_and_signature(
    desk: Desk, store: PivKeyStore, other: OtherProgram, place: str
) -> None:
    key = make(store, place=place)
    asking, stop = threading.Event(), threading.Event()

    def interfere() -> None:
        while not stop.is_set():
            asking.set()
            other.transmit(LOG_OUT)
            asking.clear()

    def verify(command: bytes, do: Callable[[], bytes]) -> bytes:
        answer = do()
        if len(command) > 5:  # that was the PIN: now is the moment to come between, and the other one tries to
            asking.wait(5)
        return answer

    desk.card.answers[VERIFY] = verify
    thread = threading.Thread(target=interfere)
    thread.start()
    try:
        for number in range(10):
            sign_and_verify(key, str(number).encode())
            store._card.connection.pause()  # gives the other one a turn at once
    finally:
        stop.set()
        thread.join()
    log = [bytes(command[:4]) for command in desk.card.log]
    assert bytes(LOG_OUT) in log
    for before, after in itertools.pairwise(log):
        if after[1] == AUTHENTICATE and after[3] == int(place, 16):
            assert before != bytes(LOG_OUT)
    assert desk.card.state.pin.left == 3


def test_a_card_another_program_has_reset_is_logged_in_again(
    desk: Desk, store: PivKeyStore, other: OtherProgram
) -> None:
    key = make(store)
    store._card.connection.pause()
    api = other.api
    assert api.SCardReconnect(other.card, api.SCARD_SHARE_SHARED, api.SCARD_PROTOCOL_T1, api.SCARD_RESET_CARD)[0] == 0
    sign_and_verify(key, b"message")


def test_a_key_another_program_replaced_is_noticed(desk: Desk, store: PivKeyStore) -> None:
    key = make(store)
    script = "store.delete(b'id'); store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b'id', label='')"
    run_with_store(desk, script).check_returncode()
    with pytest.raises(KeyGone):
        sign_and_verify(key, b"message")


def test_a_program_that_keeps_the_card_is_waited_for_and_not_for_ever(
    store: PivKeyStore, other: OtherProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make(store)
    store._card.connection.pause()
    assert other.api.SCardBeginTransaction(other.card) == 0
    with monkeypatch.context() as patched:
        patched.setattr(pcsc, "WAIT_LIMIT", 0.2)
        patched.setattr(connection, "REFUSE_SECONDS", 0.0)
        with pytest.raises(DeviceTimeout, match="another program keeps it"):
            key.sign_digest_raw(DIGEST)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(key.sign_digest_raw, DIGEST)
        assert other.api.SCardEndTransaction(other.card, other.api.SCARD_LEAVE_CARD) == 0
        assert len(waiting.result()) == 64


def test_the_card_is_left_to_others_soon_after_the_last_operation(store: PivKeyStore, other: OtherProgram) -> None:
    key = make(store)
    key.sign_digest_raw(DIGEST)
    assert other.transmit(LOG_OUT) == b"\x90\x00"  # it waited for our transaction to end, which nobody else ends
    sign_and_verify(key, b"message")


def test_a_busy_process_pauses_for_others(
    store: PivKeyStore, other: OtherProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HOLD_SECONDS", 0.05)
    monkeypatch.setattr(connection, "LINGER_SECONDS", 3600.0)
    key = make(store)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.transmit, LOG_OUT)
        signed = 0
        while not waiting.done() and signed < 20_000:
            key.sign_digest_raw(DIGEST)
            signed += 1
        assert signed < 20_000
        assert waiting.result() == b"\x90\x00"


PREAMBLE = """
import sys
from fidoloop.hsm.keystore import KeyAlgorithm, KeyUsage
from fidoloop.hsm.open import open_key_store
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
with open_key_store(sys.argv[1]) as store:
    """


def run_with_store(desk: Desk, script: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PREAMBLE + script, desk.uri()]
    return subprocess.run(command, env=desk.pcscd.environment(), capture_output=True, text=True, check=False)


def test_two_processes_sign_and_generate_on_one_card(desk: Desk, store: PivKeyStore) -> None:
    key = make(store)
    script = """
    for number in range(8):
        made = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b'other%d' % number, label='')
        for each in (made, store.key(b'id')):
            each.public_key().verify(each.sign(b'm', ec.ECDSA(hashes.SHA256())), b'm', ec.ECDSA(hashes.SHA256()))
"""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run_with_store, desk, script.strip())
        number = 0
        while not done.done():
            number += 1
            sign_and_verify(key, str(number).encode())
            if number <= 8:
                make(store, b"ours%d" % number)
    assert done.result().returncode == 0, done.result().stderr
    listed = {info.key_id: info.place for info in store.list()}
    assert len(listed) == len(set(listed.values())) == 17


def test_parent_and_child_go_on_after_a_fork(store: PivKeyStore) -> None:
    key = make(store)
    sign_and_verify(key, b"before")
    pid = os.fork()
    if pid == 0:
        try:
            sign_and_verify(key, b"child")
            store.list()
            os._exit(0)
        finally:
            os._exit(1)
    sign_and_verify(key, b"parent")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    sign_and_verify(key, b"after")


def test_nothing_of_ours_is_left_when_nobody_uses_a_card(desk: Desk) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    with desk.open() as store:
        make(store)
    assert not card_module._cards
    assert {thread.name for thread in threading.enumerate()} & {f"rest {desk.reader}"} == set()
    assert set(os.listdir("/proc/self/fd")) == descriptors
