"""PC/SC's calls as this room uses them: imported when wanted, one context a reader, errors of our family.

A call has no time limit of its own in PC/SC. Where one outlasts what it may take, `Context.hang_up` shuts the context's
socket to pcscd, on which the call returns; the context is then of no more use.
"""

import contextlib
import ctypes
import importlib
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from fidoloop.hsm.errors import DeviceError, DeviceTimeout, KeyStoreError, ModuleError, TokenAbsent
from fidoloop.hsm.piv.watchdog import Watched, watchdog

T = TypeVar("T")

ANSWER_LIMIT: Final = 10.0
"""Seconds for what pcscd answers by itself."""
WAIT_LIMIT: Final = 30.0
"""Seconds to wait for the card, which another program may be using in a transaction."""
establishing = threading.RLock()
"""Held while a context is made, so that its socket is told from others'."""


class ConnectionLost(Exception):
    """The connection to the card is of no more use: card reset or pulled, pcscd restarted. `error` is what to raise."""

    def __init__(self, error: KeyStoreError) -> None:
        """Take the error for those above, where the operation is not repeated."""
        super().__init__(str(error))
        self.error = error


def scard() -> Any:  # noqa: ANN401  # pyscard has no types
    """Return pyscard's `smartcard.scard`, imported now. Raises ModuleError."""
    try:
        # pyscard would say so on standard output, and go on without.
        ctypes.CDLL("libpcsclite.so.1")
        return importlib.import_module("smartcard.scard")
    except OSError:
        raise ModuleError("PC/SC's library libpcsclite.so.1 is missing (Debian: apt install pcscd)") from None
    except ImportError:
        raise ModuleError("pyscard is not installed: smartcards are reached through it") from None


class Context(Watched):
    """One application context with pcscd, and at most one card connected in it. Not for two threads at once."""

    def __init__(self) -> None:
        """Establish it. Raises ModuleError, TokenAbsent where no pcscd runs, DeviceTimeout where it hangs."""
        super().__init__()
        self._scard = scard()
        self._card = 0
        self._pci = 0
        self._in_transaction = False
        self._lines: list[socket.socket] = []
        self._descriptors: list[int] = []
        with establishing:
            self._before = _sockets_to_pcscd()
            watchdog.watched.add(self)
            try:
                code, self._context = self._call(ANSWER_LIMIT, self._scard.SCardEstablishContext, 0)
                if code != self._scard.SCARD_S_SUCCESS:
                    raise self._error(code)
                self._find_line()
            except BaseException:
                self._forget()
                raise

    def readers(self) -> list[str]:
        """Return the names of the readers. Raises KeyStoreError."""
        code, names = self._call(ANSWER_LIMIT, self._scard.SCardListReaders, self._context, [])
        if code == self._scard.SCARD_E_NO_READERS_AVAILABLE:
            return []
        self._check(code)
        return list(names)

    def occupied(self, readers: Sequence[str]) -> list[str]:
        """Return those of `readers` with a card in them. Raises ConnectionLost, DeviceTimeout."""
        asked = [(name, self._scard.SCARD_STATE_UNAWARE) for name in readers]
        code, states = self._call(ANSWER_LIMIT, self._scard.SCardGetStatusChange, self._context, 0, asked)
        self._check(code)
        return [name for name, state, _atr in states if state & self._scard.SCARD_STATE_PRESENT]

    def connect(self, reader: str) -> tuple[bytes, bool]:
        """Connect to the card in a reader, shared; return its ATR, and whether it speaks T=0.

        Raises:
            ConnectionLost: pcscd was restarted, or there is no card; another context is needed.
        """
        api = self._scard
        protocols = api.SCARD_PROTOCOL_T0 | api.SCARD_PROTOCOL_T1
        code, self._card, protocol = self._call(
            WAIT_LIMIT, api.SCardConnect, self._context, reader, api.SCARD_SHARE_SHARED, protocols
        )
        self._check(code)
        t0 = bool(protocol == api.SCARD_PROTOCOL_T0)
        self._pci = api.SCARD_PCI_T0 if t0 else api.SCARD_PCI_T1
        code, _, _, _, atr = self._call(ANSWER_LIMIT, api.SCardStatus, self._card)
        self._check(code)
        return bytes(atr), t0

    def begin(self) -> None:
        """Begin a transaction, waiting for another program's to end. Raises ConnectionLost, DeviceTimeout."""
        self._check(self._call(WAIT_LIMIT, self._scard.SCardBeginTransaction, self._card))
        self._in_transaction = True

    def transmit(self, command: bytes, limit: float) -> bytes:
        """Send one APDU and return the answer. Raises ConnectionLost, DeviceTimeout after `limit` seconds."""
        # As `_call` does it: this is what every signature waits for.
        self.deadline = time.monotonic() + limit
        if not watchdog.running:
            watchdog.start()
        code, answer = self._scard.SCardTransmit(self._card, self._pci, list(command))
        self.deadline = None
        if self.expired:
            raise _timeout(limit)
        if code:
            self._check(code)
        if not answer:  # what some drivers make of a card that is gone
            self._check(self._scard.SCARD_E_NOT_TRANSACTED)
        return bytes(answer)

    def end(self) -> None:
        """End the transaction. Raises ConnectionLost, DeviceTimeout."""
        self._check(self._end())

    def release(self) -> None:
        """Give the context back, and the connection made in it; the card stays powered for others.

        A transaction is ended first, whether there still is a card or not: otherwise pcscd resets the card, and where
        that fails because it is being pulled and put back, does not see it again.
        """
        with contextlib.suppress(DeviceTimeout):
            if self._in_transaction:
                self._end()
            self._call(ANSWER_LIMIT, self._scard.SCardReleaseContext, self._context)
        self._forget()

    def hang_up(self) -> None:
        """Make the call in progress return, from another thread."""
        if not self._lines:
            self._find_line()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def forget_in_child(self) -> None:
        """Let go of what is the parent's, in a child after fork, without a word to pcscd.

        An inherited socket that stays open would keep the parent's transaction after its death.
        """
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._forget()

    def _end(self) -> int:
        self._in_transaction = False
        end: Callable[..., int] = self._scard.SCardEndTransaction
        return self._call(ANSWER_LIMIT, end, self._card, self._scard.SCARD_LEAVE_CARD)

    def _forget(self) -> None:
        watchdog.watched.discard(self)
        lines, self._lines = self._lines, []
        for line in lines:
            line.close()

    def _find_line(self) -> None:
        """Find the socket that libpcsclite opened to pcscd and does not show."""
        self._descriptors = sorted(_sockets_to_pcscd() - self._before)
        self._lines = [socket.socket(fileno=os.dup(descriptor)) for descriptor in self._descriptors]

    def _call(self, limit: float, function: Callable[..., T], *arguments: object) -> T:
        self.deadline = time.monotonic() + limit
        if not watchdog.running:
            watchdog.start()
        try:
            result = function(*arguments)
        finally:
            self.deadline = None
        if self.expired:
            raise _timeout(limit)
        return result

    def _check(self, code: int) -> None:
        if code != self._scard.SCARD_S_SUCCESS:
            raise ConnectionLost(self._error(code))

    def _error(self, code: int) -> KeyStoreError:
        for names, error, message in _ERRORS:
            if any(code == getattr(self._scard, f"SCARD_{name}") for name in names):
                return error(message)
        said = self._scard.SCardGetErrorMessage(code).rstrip(".")
        return DeviceError(f"PC/SC failed: {said} ({code & 0xFFFFFFFF:08X})")


_ERRORS: Final[tuple[tuple[tuple[str, ...], type[KeyStoreError], str], ...]] = (
    (
        ("E_NO_SERVICE", "E_SERVICE_STOPPED", "E_INVALID_HANDLE", "F_COMM_ERROR"),
        TokenAbsent,
        "the PC/SC service does not answer: is pcscd installed, and started?",
    ),
    (("E_NO_SMARTCARD", "W_REMOVED_CARD"), TokenAbsent, "no card is in the reader (any more)"),
    (("E_NOT_TRANSACTED",), TokenAbsent, "the card did not answer: it was pulled out, or has a bad contact"),
    (("W_RESET_CARD",), TokenAbsent, "another program has reset the card"),
    (
        ("E_UNKNOWN_READER", "E_READER_UNAVAILABLE", "E_NO_READERS_AVAILABLE"),
        TokenAbsent,
        "the reader is not there (any more)",
    ),
    (
        ("W_UNRESPONSIVE_CARD", "W_UNPOWERED_CARD", "W_UNSUPPORTED_CARD", "E_PROTO_MISMATCH"),
        TokenAbsent,
        "the card in the reader does not answer: is it the right way round?",
    ),
    (
        ("E_SHARING_VIOLATION",),
        DeviceError,
        "another program has the card to itself: close it, or have it share the card",
    ),
)


def _timeout(limit: float) -> DeviceTimeout:
    return DeviceTimeout(f"the card did not answer within {limit:.0f} seconds, or another program keeps it")


def _sockets_to_pcscd() -> set[int]:
    """Return this process's descriptors of sockets to pcscd; none where the system does not show them (Linux does)."""
    found = set()
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with contextlib.suppress(OSError):  # closed meanwhile, or not connected
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as candidate:
                if candidate.family == socket.AF_UNIX and "pcscd" in str(candidate.getpeername()):
                    found.add(int(name))
    return found
