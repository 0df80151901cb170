"""The one connection of this process to the card in a reader.

Everything happens in PC/SC transactions, so that no other program's commands come between ours. A transaction is not
ended with the operation: a thread ends it when nobody has used it for a few milliseconds, so that a busy process does
not pay for beginning and ending; and after a second of work it pauses, since a waiting program asks pcscd only ten
times a second.
"""

import threading
import time
from typing import Final

from fidoloop.hsm.errors import DeviceTimeout, TokenAbsent
from fidoloop.hsm.piv.pcsc import ConnectionLost, Context

LINGER_SECONDS: Final = 0.01
HOLD_SECONDS: Final = 1.0
YIELD_SECONDS: Final = 0.11
"""Longer than the tenth of a second in which pcsc-lite has a waiting program ask again."""
COMMAND_LIMIT: Final = 20.0
"""Seconds for one command; a card may wait for a touch almost as long."""
GENERATE_LIMIT: Final = 180.0
"""Seconds for making a key: RSA takes some cards a minute."""
REFUSE_SECONDS: Final = 5.0


class Connection:
    """A shared connection to the card in one reader; every method is called while holding `lock`.

    `session` counts the transactions: as long as it stays the same, nobody else has used the card.
    """

    def __init__(self, reader: str) -> None:
        """Name the reader; nothing is sent before `enter`."""
        self.reader = reader
        self.lock = threading.RLock()
        self.session = 0
        self.limit = COMMAND_LIMIT
        """Seconds that the next commands may take."""
        self.atr = b""
        self.t0 = False
        self._context: Context | None = None
        self._in_transaction = False
        self._began = self._used = self._refuse_until = 0.0
        self._rester: threading.Thread | None = None
        self._stop = threading.Event()

    def goes_on(self, session: int) -> bool:
        """Tell whether transaction `session` is still in progress, and may go on."""
        return self._in_transaction and session == self.session and time.monotonic() - self._began < HOLD_SECONDS

    def enter(self) -> None:
        """Connect where there is no connection, and begin a transaction where none is in progress.

        Raises:
            TokenAbsent: no card, no reader, no pcscd.
            DeviceTimeout: another program keeps the card, or it hangs.
            ConnectionLost: the card was reset or pulled since; the next call connects anew.
        """
        if self._in_transaction:
            if time.monotonic() - self._began < HOLD_SECONDS:
                return
            self._end()
            time.sleep(YIELD_SECONDS)
        if time.monotonic() < self._refuse_until:
            raise DeviceTimeout("the card or its reader hangs: pull it out and put it in again")
        try:
            if self._context is None:
                self._connect()
            assert self._context is not None
            self._context.begin()
        except BaseException as error:
            self._failed(error)
            raise
        self._in_transaction = True
        self.session += 1
        self._began = self._used = time.monotonic()
        if self._rester is None:
            self._rester = threading.Thread(target=self._rest, name=f"rest {self.reader}", daemon=True)
            self._rester.start()

    def transmit(self, command: bytes) -> bytes:
        """Send one APDU in the transaction and return the answer. Raises ConnectionLost, DeviceTimeout."""
        context = self._context
        if context is None:  # lost earlier in the same operation
            raise ConnectionLost(TokenAbsent("the connection to the card was lost"))
        try:
            answer = context.transmit(command, self.limit)
        except BaseException as error:
            self._failed(error)
            raise
        self._used = time.monotonic()
        return answer

    def close(self) -> None:
        """End the transaction and the thread, and give the connection back; the card stays powered for others."""
        self.pause()
        self._drop()

    def pause(self) -> None:
        """End the transaction and the thread, before a fork or at the end."""
        if self._in_transaction:
            self._end()
        self._stop.set()
        rester, self._rester = self._rester, None
        if rester is not None:
            rester.join()
        self._stop.clear()

    def after_fork_in_child(self) -> None:
        """Forget what belongs to the parent; sends nothing."""
        self.lock = threading.RLock()
        context, self._context = self._context, None
        if context is not None:
            context.forget_in_child()
        self._in_transaction = False
        self._rester = None
        self._stop = threading.Event()
        self.session += 1

    def _connect(self) -> None:
        context = Context()
        try:
            self.atr, self.t0 = context.connect(self.reader)
        except ConnectionLost as lost:
            context.release()
            raise lost.error from None
        except BaseException:
            context.release()
            raise
        self._context = context

    def _failed(self, error: BaseException) -> None:
        """Give up the connection after an error of it; after a time limit, refuse for a while instead of trying."""
        if isinstance(error, DeviceTimeout):
            self._refuse_until = time.monotonic() + REFUSE_SECONDS
        self._drop()

    def _drop(self) -> None:
        self._in_transaction = False
        context, self._context = self._context, None
        if context is not None:
            context.release()

    def _end(self) -> None:
        self._in_transaction = False
        assert self._context is not None
        try:
            self._context.end()
        except (ConnectionLost, DeviceTimeout) as error:
            self._failed(error)  # the next operation connects anew, and says what is wrong

    def _rest(self) -> None:
        """End the transaction once nobody has used it for a while; then end."""
        while not self._stop.wait(LINGER_SECONDS / 2):
            if not self.lock.acquire(blocking=False):
                continue
            try:
                if self._rester is not threading.current_thread():
                    return
                if self._in_transaction and time.monotonic() - self._used < LINGER_SECONDS:
                    continue
                self._rester = None
                if self._in_transaction:
                    self._end()
                return
            finally:
                self.lock.release()
