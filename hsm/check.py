"""A round of everything the loop asks of a key store, on a token somebody names; nothing of others' is touched.

Without `create` nothing on the token changes. With it, keys are made, tried and removed again one at a time, so that a
device with one free place will do.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from fidoloop.hsm.check_operations import (
    AGREE,
    DECRYPT,
    SIGN,
    WrongAnswer,
    check_mac,
    check_random,
    key_operations,
    self_signed,
)
from fidoloop.hsm.errors import KeyGone, KeyStoreError, NotSupported
from fidoloop.hsm.keystore import (
    HardwareKey,
    KeyAlgorithm,
    KeyInfo,
    KeyStore,
    KeyUsage,
)
from fidoloop.protocol.certificates import load_certificate

OWN_LABEL: Final = "fidoloop"
"""Labels of this program's keys begin so (on a token that keeps labels)."""
CHECK_ID: Final = b"fidoloop:check:"
"""Ids of the keys a check makes begin so."""
KINDS: Final = (
    (KeyAlgorithm.P256, KeyUsage.SIGN),
    (KeyAlgorithm.P256, KeyUsage.DERIVE),
    (KeyAlgorithm.P384, KeyUsage.SIGN),
    (KeyAlgorithm.P384, KeyUsage.DERIVE),
    (KeyAlgorithm.RSA2048, KeyUsage.SIGN),
    (KeyAlgorithm.RSA2048, KeyUsage.DECRYPT),
)
_FAILURES: Final = (KeyStoreError, UnsupportedAlgorithm, InvalidSignature, ValueError)
_MAC: Final = "authenticate (HMAC)"
_NO_KEY: Final = "no such key of fidoloop's is there; --create makes one for a moment, --id names one of others'"


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOT_SUPPORTED = "not supported"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class CheckResult:
    """One operation tried.

    `algorithm` is empty for operations of the token itself, `key_id` (hexadecimal) where no key of the token was used;
    `seconds` is None for what was not run.
    """

    algorithm: str
    operation: str
    outcome: Outcome
    detail: str = ""
    seconds: float | None = None
    key_id: str = ""


class _NotChecked(Exception):
    """There is nothing to try the operation with."""


def check_store(
    store: KeyStore,
    *,
    mac_key_id: bytes,
    create: bool,
    key_ids: Collection[bytes] = (),
    kinds: Sequence[tuple[KeyAlgorithm, KeyUsage]] = KINDS,
    report: Callable[[CheckResult], None] = lambda _result: None,
) -> tuple[CheckResult, ...]:
    """Try every operation and return how each went; `report` is told of each as it ends.

    Args:
        store: opened already, which is the first check passed.
        mac_key_id: the id of the loop's own MAC key.
        create: make keys of its own, try them and remove them, also where anything is raised.
        key_ids: keys to try though somebody else made them, such as one to be adopted.
        kinds: of keys to try.
        report: called once for each check.

    Raises:
        KeyboardInterrupt: only after the key at hand was removed.
    """
    run = _Run(store, report)
    run.try_("", "info", lambda: store.info().kind)
    keys: list[KeyInfo] = []
    run.try_("", "list", lambda: _counted(keys, store.list()))
    run.try_("", "random", lambda: check_random(store))
    for algorithm, usage in kinds:
        fitting = [info for info in keys if info.algorithm is algorithm and usage in info.usage]
        tried = [info for info in fitting if info.key_id in key_ids]
        tried += [info for info in fitting if _is_own(info) and info not in tried][:1]
        for info in tried:
            run.existing_key(info, usage)
        if create:
            run.made_key(algorithm, usage)
        elif not tried:
            run.no_key(algorithm, usage)
    if create:
        run.made_mac_key()
    else:
        run.existing_mac_key(mac_key_id)
    return tuple(run.results)


def missing_for_loop(results: Sequence[CheckResult]) -> tuple[str, ...]:
    """Return what the loop needs and was seen not to work: such a token cannot carry it.

    The phone's registrations and requests are signed on P-256; its tokens are decrypted on P-256 or, where the device
    cannot agree on keys, with RSA-2048. A device that makes no keys can use those that were made for it by other means.
    """
    return tuple(name for name, operations in _NEEDS if _works(results, operations) is False)


def unchecked_for_loop(results: Sequence[CheckResult]) -> tuple[str, ...]:
    """Return what the loop needs and was not tried."""
    return tuple(name for name, operations in _NEEDS if _works(results, operations) is None)


_Operation = tuple[str, str]
_LIST: Final[_Operation] = ("", "list")
_SIGN: Final[_Operation] = ("p256", SIGN)
_AGREE: Final[_Operation] = ("p256", AGREE)
_DECRYPT: Final[_Operation] = ("rsa2048", DECRYPT)
_GENERATE: Final = {
    KeyUsage.SIGN: "generate, to sign",
    KeyUsage.DERIVE: "generate, to agree",
    KeyUsage.DECRYPT: "generate, to decrypt",
}
_NEEDS: Final = (
    ("list", (_LIST,)),
    ("p256 sign and verify", (_SIGN,)),
    ("p256 key agreement or rsa2048 decryption", (_AGREE, _DECRYPT)),
)
_MADE_BY: Final = {
    _SIGN: ("p256", _GENERATE[KeyUsage.SIGN]),
    _AGREE: ("p256", _GENERATE[KeyUsage.DERIVE]),
    _DECRYPT: ("rsa2048", _GENERATE[KeyUsage.DECRYPT]),
}


def _works(results: Sequence[CheckResult], operations: tuple[_Operation, ...]) -> bool | None:
    """Return whether one of the operations works; None where none was seen to and not all were tried.

    An operation whose key cannot be made, and for which none is there, was tried too.
    """
    tried: dict[_Operation, bool] = {}
    for result in results:
        if result.outcome is not Outcome.NOT_CHECKED:
            operation = (result.algorithm, result.operation)
            tried[operation] = tried.get(operation, False) or result.outcome is Outcome.OK
    found = [tried.get(one, tried.get(_MADE_BY.get(one, one)) and None) for one in operations]
    return True if True in found else None if None in found else False


class _Run:
    """Checks of one store, in order."""

    def __init__(self, store: KeyStore, report: Callable[[CheckResult], None]) -> None:
        self._store = store
        self._report = report
        self.results: list[CheckResult] = []

    def try_(self, algorithm: str, operation: str, check: Callable[[], str], *, key_id: bytes = b"") -> bool:
        """Run one check, which returns what is worth telling or raises; return whether it passed."""
        start = time.perf_counter()
        seconds: float | None = None
        try:
            detail, outcome = check(), Outcome.OK
        except _NotChecked as error:
            detail, outcome = str(error), Outcome.NOT_CHECKED
        except NotSupported as error:
            detail, outcome = str(error), Outcome.NOT_SUPPORTED
        except _FAILURES as error:
            detail, outcome = str(error) or type(error).__name__, Outcome.FAILED
        if outcome is not Outcome.NOT_CHECKED:
            seconds = time.perf_counter() - start
        self._add(CheckResult(algorithm, operation, outcome, detail, seconds, key_id.hex()))
        return outcome is Outcome.OK

    def existing_key(self, info: KeyInfo, usage: KeyUsage) -> None:
        """Try a key that is there, which changes nothing."""
        self._operations(info.algorithm, usage, info.key_id)
        check = partial(self._certificate, info.key_id)
        self.try_(info.algorithm.value, "read a certificate", check, key_id=info.key_id)

    def no_key(self, algorithm: KeyAlgorithm, usage: KeyUsage) -> None:
        """Say what could not be tried."""
        for operation, _ in key_operations(algorithm, usage):
            self._add(CheckResult(algorithm.value, operation, Outcome.NOT_CHECKED, _NO_KEY))

    def made_key(self, algorithm: KeyAlgorithm, usage: KeyUsage) -> None:
        """Make a key, try it, and remove it whatever happens."""
        key_id = CHECK_ID + os.urandom(8)
        made = True  # an interrupted call may have made it
        try:
            made = self.try_(algorithm.value, _GENERATE[usage], lambda: self._generate(algorithm, usage, key_id))
            if made:
                self._operations(algorithm, usage, key_id)
                if (algorithm, usage) == KINDS[0]:
                    self.try_(algorithm.value, "write and read a certificate", lambda: self._write(key_id))
        finally:
            self._remove(algorithm.value, key_id, made=made)

    def existing_mac_key(self, key_id: bytes) -> None:
        """Try the loop's MAC key if it is there."""

        def check() -> str:
            key = self._store.mac_key(key_id, "", make=False)
            if key is None:
                raise _NotChecked("no such key is there, or the token has no HMAC; --create tells")
            return check_mac(key)

        self.try_("hmac", _MAC, check, key_id=key_id)

    def made_mac_key(self) -> None:
        """Make a MAC key, try it, and remove it whatever happens."""
        key_id = CHECK_ID + os.urandom(8)

        def check() -> str:
            key = self._store.mac_key(key_id, f"{OWN_LABEL} check")
            if key is None:
                raise NotSupported("the token has no HMAC: rows of the phone's state go without a MAC")
            return check_mac(key)

        made = False
        try:
            made = self.try_("hmac", _MAC, check)
        finally:
            self._remove("hmac", key_id, made=made)

    def _operations(self, algorithm: KeyAlgorithm, usage: KeyUsage, key_id: bytes) -> None:
        with suppress(*_FAILURES):  # found now, it is not looked up while an operation is timed, which says what failed
            self._store.key(key_id)
        for operation, check in key_operations(algorithm, usage):
            self.try_(algorithm.value, operation, partial(_with_key, self._store, key_id, check), key_id=key_id)

    def _generate(self, algorithm: KeyAlgorithm, usage: KeyUsage, key_id: bytes) -> str:
        info = self._store.generate(algorithm, usage, key_id=key_id, label=f"{OWN_LABEL} check").info
        return f"place {info.place}" if info.place else ""

    def _certificate(self, key_id: bytes) -> str:
        der = self._store.certificate(key_id)
        if der is None:
            return "none is stored"
        return load_certificate(der).subject.rfc4514_string()

    def _write(self, key_id: bytes) -> str:
        der = self_signed(self._store.key(key_id))
        self._store.put_certificate(key_id, der, f"{OWN_LABEL} check")
        if self._store.certificate(key_id) != der:
            raise WrongAnswer("another certificate came back")
        return ""

    def _remove(self, algorithm: str, key_id: bytes, *, made: bool) -> None:
        """Remove what a check made; where it should have made nothing, look all the same."""
        with _undisturbed():
            try:
                self._store.delete(key_id)
            except KeyGone:
                if made:
                    self._add(CheckResult(algorithm, "delete", Outcome.FAILED, "the key just made is gone"))
            except KeyStoreError as error:
                detail = f"{error}; what is left has the id {key_id.hex()}"
                self._add(CheckResult(algorithm, "delete", Outcome.FAILED, detail, None, key_id.hex()))

    def _add(self, result: CheckResult) -> None:
        self.results.append(result)
        self._report(result)


def _is_own(info: KeyInfo) -> bool:
    return info.label.startswith(OWN_LABEL) and not info.key_id.startswith(CHECK_ID)


def _with_key(store: KeyStore, key_id: bytes, check: Callable[[HardwareKey], str]) -> str:
    return check(store.key(key_id))


def _counted(keys: list[KeyInfo], found: Sequence[KeyInfo]) -> str:
    keys.extend(found)
    return f"{len(keys)} keys, {sum(map(_is_own, keys))} of fidoloop's"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back until the end: a second one must not leave the key behind that the first had us remove."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt
