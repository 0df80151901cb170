"""PIN and PUK (SP 800-73-4 part 2, 3.2.1 to 3.2.3); every try is written down before it is answered."""

import re
from hmac import compare_digest
from typing import Final

from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.piv.registry import PIN, PUK
from fidoloop.hsm.sim.piv.session import Session
from fidoloop.hsm.sim.piv.state import ReferenceData, StateStore

DEFAULT_PIN: Final = b"123456\xff\xff"
DEFAULT_PUK: Final = b"12345678"
DEFAULT_TRIES: Final = 3
_LENGTH = 8
_MAX_TRIES = 15  # what 63CX can tell
_PIN_FORMAT = re.compile(rb"(?=.{8}\Z)[0-9]{6,8}\xff*", re.DOTALL)  # part 2, 2.4.3


class Pins:
    """The commands that check and change PIN and PUK."""

    def __init__(self, store: StateStore, session: Session) -> None:
        self._store = store
        self._session = session

    def verify(self, command: Command) -> bytes:
        """VERIFY: check the PIN, tell the tries left, or forget that it was verified."""
        if command.p2 != PIN:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        if command.p1 == 0xFF:
            command.without_data()
            self._session.forget_pin()
            return b""
        command.require(p1=0)
        pin = self._store.state.pin
        if not command.data:
            if not self._session.pin_verified:
                raise ApduError(_status(pin))
            return b""
        _require_not_blocked(pin)
        _require_pin_format(command.data)
        self._compare(PIN, command.data)
        self._session.pin_entered()
        return b""

    def change(self, command: Command) -> bytes:
        """CHANGE REFERENCE DATA: old and new PIN or PUK, 8 bytes each."""
        command.require(p1=0)
        if command.p2 not in (PIN, PUK):
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        _require_not_blocked(self._reference(command.p2))
        old, new = _halves(command.data)
        if command.p2 == PIN:
            _require_pin_format(old)
            _require_pin_format(new)
        self._compare(command.p2, old)
        self._reference(command.p2).value = new
        self._store.save()
        if command.p2 == PIN:
            self._session.pin_entered()
        return b""

    def unblock(self, command: Command) -> bytes:
        """RESET RETRY COUNTER: PUK and new PIN, 8 bytes each."""
        command.require(p1=0)
        if command.p2 != PIN:
            raise ApduError(StatusWord.REFERENCE_NOT_FOUND)
        _require_not_blocked(self._store.state.puk)
        puk, new = _halves(command.data)
        _require_pin_format(new)
        self._compare(PUK, puk)
        pin = self._store.state.pin
        pin.value, pin.left = new, pin.tries
        self._store.save()
        return b""

    def set_retries(self, command: Command) -> bytes:
        """SET PIN RETRIES (Yubico): P1 tries of the PIN, P2 of the PUK, 1 to 15; both become their defaults."""
        command.without_data()
        self._session.require_management()
        if not self._session.pin_verified:
            raise ApduError(StatusWord.SECURITY_STATUS_NOT_SATISFIED)
        if not (1 <= command.p1 <= _MAX_TRIES and 1 <= command.p2 <= _MAX_TRIES):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        self._store.state.pin = default_pin(command.p1)
        self._store.state.puk = default_puk(command.p2)
        self._store.save()
        return b""

    def _reference(self, key_reference: int) -> ReferenceData:
        return self._store.state.pin if key_reference == PIN else self._store.state.puk

    def _compare(self, key_reference: int, given: bytes) -> None:
        """Use up a try, compare, and give the tries back. Raises ApduError 63CX."""
        self._reference(key_reference).left -= 1
        self._store.save()
        reference = self._reference(key_reference)
        if not compare_digest(reference.value, given):
            self._session.forget_pin()
            raise ApduError(StatusWord.VERIFICATION_FAILED | reference.left)
        reference.left = reference.tries
        self._store.save()


def default_pin(tries: int = DEFAULT_TRIES) -> ReferenceData:
    """Return the PIN of a new card."""
    return ReferenceData(DEFAULT_PIN, tries, tries)


def default_puk(tries: int = DEFAULT_TRIES) -> ReferenceData:
    """Return the PUK of a new card."""
    return ReferenceData(DEFAULT_PUK, tries, tries)


def _status(reference: ReferenceData) -> int:
    if not reference.left:
        return StatusWord.AUTHENTICATION_BLOCKED
    return StatusWord.VERIFICATION_FAILED | reference.left


def _require_not_blocked(reference: ReferenceData) -> None:
    if not reference.left:
        raise ApduError(StatusWord.AUTHENTICATION_BLOCKED)


def _require_pin_format(value: bytes) -> None:
    if not _PIN_FORMAT.fullmatch(value):
        raise ApduError(StatusWord.INCORRECT_DATA)


def _halves(data: bytes) -> tuple[bytes, bytes]:
    if len(data) != 2 * _LENGTH:
        raise ApduError(StatusWord.INCORRECT_DATA)
    return data[:_LENGTH], data[_LENGTH:]
