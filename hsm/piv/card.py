"""A PIV card in a reader, shared by the stores of this process: selected, recognised, logged in when it has to be."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from fidoloop.hsm.errors import (
    DeviceError,
    KeyGone,
    KeyStoreError,
    NotSupported,
    PinIncorrect,
    PinLocked,
    TokenAbsent,
    TokenFull,
)
from fidoloop.hsm.piv import application as piv
from fidoloop.hsm.piv import pcsc, tlv
from fidoloop.hsm.piv.apdu import Channel, StatusError, offers_extended_length
from fidoloop.hsm.piv.application import PivApplication
from fidoloop.hsm.piv.connection import COMMAND_LIMIT, Connection
from fidoloop.hsm.piv.pcsc import ConnectionLost
from fidoloop.hsm.piv.slots import CHUID
from fidoloop.hsm.piv.watchdog import watchdog

T = TypeVar("T")
_PIN_BYTES: Final = 8
_GUID: Final = 0x34
_LABEL: Final = 0x50


@dataclass(frozen=True)
class Identity:
    """What a card is known by when it is put back: everything it tells about itself before a PIN.

    `serial` is its serial number or, where it tells none, the GUID of its CHUID in hexadecimal, or nothing.
    """

    serial: str
    label: str
    version: str
    properties: bytes
    atr: bytes


class Pin:
    """A store's PIN, and those the card has refused: they are never sent to it again."""

    def __init__(self, text: str) -> None:
        """Take the PIN as text."""
        self.text = text
        self._refused: dict[str, PinIncorrect] = {}

    def check(self, text: str) -> bytes:
        """Return the PIN as the card takes it. Raises PinIncorrect: it was refused before, or can be no PIN."""
        refused = self._refused.get(text)
        if refused is not None:
            raise PinIncorrect(
                "the card has refused this PIN before, so it was not sent again", tries_left=refused.tries_left
            )
        return padded_pin(text)

    def refuse(self, text: str, error: PinIncorrect) -> None:
        """Remember that the card refused this PIN."""
        self._refused[text] = error


def padded_pin(text: str) -> bytes:
    """Return a PIN or PUK padded to eight bytes (SP 800-73-4 part 2, 2.4.3). Raises PinIncorrect."""
    encoded = text.encode()
    if not 0 < len(encoded) <= _PIN_BYTES:
        raise PinIncorrect("the PIN is wrong (its length: a PIV card's has six to eight characters)")
    return encoded.ljust(_PIN_BYTES, b"\xff")


class Card:
    """The card in one reader. `run` is the only way to it; everything else is called inside an operation."""

    def __init__(self, reader: str) -> None:
        """Name the reader; nothing is sent yet."""
        self.connection = Connection(reader)
        self.identity: Identity | None = None
        self.users = 0
        self._application = PivApplication(Channel(self.connection.transmit))
        self._running = False
        self._selected = self._verified = -1

    def run(
        self, doing: str, operation: Callable[[PivApplication], T], *, pin: Pin | None = None, fresh: bool = False
    ) -> T:
        """Run `operation` in one transaction, with the application selected and the PIN verified where one is given.

        Called within another operation it is part of that one. An operation is repeated once where the card was
        reset, changed or forgot its state, unless it is `fresh`: that begins with everything established anew, and is
        for what must not happen twice.

        Raises:
            TokenAbsent: the card was pulled, or another one is there; DeviceTimeout; PinIncorrect, PinLocked;
            KeyStoreError: as the card answered.
        """
        connection = self.connection
        with connection.lock:
            if self._running:
                return operation(self._application)
            self._running = True
            try:
                relied = connection.goes_on(self._verified) and not fresh
                if not relied:
                    relied = self._prepare(doing, pin, fresh)
                try:
                    return operation(self._application)
                except ConnectionLost as lost:
                    if fresh:
                        raise lost.error from None
                except StatusError as refused:
                    if not relied:
                        raise translate(refused, doing) from None
                return self._repeat(doing, operation, pin)
            finally:
                self._running = False
                connection.limit = COMMAND_LIMIT

    def _repeat(self, doing: str, operation: Callable[[PivApplication], T], pin: Pin | None) -> T:
        self._prepare(doing, pin, fresh=True)
        try:
            return operation(self._application)
        except ConnectionLost as lost:
            raise lost.error from None
        except StatusError as refused:
            raise translate(refused, doing) from None

    def log_in(self, pin: Pin) -> None:
        """Send the PIN; within an operation. Raises PinIncorrect, PinLocked."""
        self.verify(pin, pin.text)

    def verify(self, pin: Pin, text: str) -> None:
        """Have the card compare a PIN; within an operation. Raises PinIncorrect, PinLocked, ConnectionLost."""
        padded = pin.check(text)
        self._verified = -1
        try:
            self._application.verify_pin(padded)
        except PinIncorrect as error:
            pin.refuse(text, error)
            raise
        self._verified = self.connection.session

    def _prepare(self, doing: str, pin: Pin | None, fresh: bool) -> bool:
        """Make the card ready; once more where it was reset or pcscd restarted before anything was done."""
        for last in (False, True):
            try:
                self.connection.enter()
                return self._make_ready(pin, fresh)
            except ConnectionLost as lost:
                if last:
                    raise lost.error from None
            except StatusError as refused:
                raise translate(refused, doing) from None
        raise AssertionError

    def _make_ready(self, pin: Pin | None, fresh: bool) -> bool:
        """Return whether this relied on what was known, instead of establishing it."""
        session = self.connection.session
        if not fresh:
            if self._selected == session and pin is None:
                return True
            if self._selected != session and self._still_logged_in():
                self._selected = self._verified = session
                return True
        self._select()
        self._selected = session
        self._verified = -1
        if pin is not None:
            self.log_in(pin)
        return False

    def _still_logged_in(self) -> bool:
        """Tell whether PIV is still selected and the PIN verified, as after other programs' harmless commands."""
        try:
            return self.identity is not None and self._application.pin_state().verified
        except StatusError:
            return False

    def _select(self) -> None:
        """Select PIV and make sure that it is the same card as before: no other one is sent our PIN."""
        connection = self.connection
        channel = Channel(
            connection.transmit, extended=offers_extended_length(connection.atr), le_with_data=not connection.t0
        )
        self._application = PivApplication(channel)
        try:
            properties = self._application.select()
        except StatusError as error:
            raise TokenAbsent(f"the card in reader {connection.reader!r} is no PIV card ({error.sw:04X})") from None
        identity = _identify(self._application, properties, connection.atr)
        if self.identity is None:
            self.identity = identity
        elif self.identity != identity:
            raise TokenAbsent(
                f"another card is in reader {connection.reader!r}: put the one with serial "
                f"{self.identity.serial or 'unknown'} back"
            )

    def close(self) -> None:
        """Log out where the card can, and give it back."""
        with self.connection.lock:
            if self._verified == self.connection.session:
                with suppress(KeyStoreError, StatusError, ConnectionLost):  # it is as good as logged out, or gone
                    self.connection.enter()
                    self._application.log_out()
            self.connection.close()


_registry_lock = threading.RLock()
_cards: dict[str, Card] = {}


@contextmanager
def borrowed(reader: str) -> Iterator[Card]:
    """Use the card in a reader for a while."""
    card = lease(reader)
    try:
        yield card
    finally:
        release(card)


def lease(reader: str) -> Card:
    """Return the process's card object for a reader, counting the use; `release` ends it."""
    with _registry_lock:
        card = _cards.setdefault(reader, Card(reader))
        card.users += 1
        return card


def release(card: Card) -> None:
    """End one use; the last one logs out and gives the card back."""
    with _registry_lock:
        card.users -= 1
        if card.users:
            return
        _cards.pop(card.connection.reader, None)
    card.close()


def translate(error: StatusError, doing: str) -> KeyStoreError:
    """Turn a status word (SP 800-73-4 part 2, 4.; ISO/IEC 7816-4 5.6) into this room's error."""
    where = f"({error.sw:04X}, while {doing})"
    if error.sw in piv.NOT_FOUND:
        return KeyGone(f"no such key or object is on the card {where}")
    if error.sw in piv.UNKNOWN_INSTRUCTION:
        return NotSupported(f"the card cannot do this {where}")
    if error.sw == piv.FULL:
        return TokenFull(f"the card has no room for this {where}")
    if error.sw == piv.BLOCKED:
        return PinLocked("the PIN is locked after too many wrong tries: set a new one with the PUK")
    if error.sw == piv.SECURITY_STATUS:
        return DeviceError(f"the card does not allow this: does it want a touch, or its management key? {where}")
    return DeviceError(f"the card refused {where}")


def _identify(application: PivApplication, properties: bytes, atr: bytes) -> Identity:
    serial = application.serial() or _guid(application.get_data(CHUID))
    try:
        label = tlv.fields(tlv.only(properties, 0x61)).get(_LABEL, b"").decode(errors="replace")
    except tlv.TlvError:
        label = ""
    return Identity(serial, label, application.version() or "", properties, atr)


def _guid(chuid: bytes | None) -> str:
    """Return the GUID in a cardholder unique identifier, nothing where there is none or it is all zeros."""
    try:
        guid = tlv.fields(chuid or b"").get(_GUID, b"")
    except tlv.TlvError:
        return ""
    return guid.hex() if any(guid) else ""


def _before_fork() -> None:
    _registry_lock.acquire()
    for card in _cards.values():
        card.connection.lock.acquire()
        card.connection.pause()
    pcsc.establishing.acquire()
    watchdog.pause()


def _after_fork_in_parent() -> None:
    pcsc.establishing.release()
    for card in _cards.values():
        card.connection.lock.release()
    _registry_lock.release()


def _after_fork_in_child() -> None:
    global _registry_lock  # noqa: PLW0603  # the old lock is held by a thread that may not exist here
    _registry_lock = threading.RLock()
    pcsc.establishing = threading.RLock()
    watchdog.after_fork_in_child()
    for card in _cards.values():
        card.connection.after_fork_in_child()


# Nobody holds a card's lock while taking the registry's, or two cards' locks, or `establishing` while taking either:
# so this cannot deadlock.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
