"""A UAF authenticator in a card: its commands as APDUs over PC/SC (UAF APDU 1.1; digest section 7.1)."""

from typing import Final, NamedTuple

from fidoloop.hsm.errors import DeviceError, PinIncorrect, PinLocked, TokenAbsent, TokenAmbiguous
from fidoloop.hsm.piv.apdu import OK, Channel, StatusError
from fidoloop.hsm.piv.connection import GENERATE_LIMIT, Connection
from fidoloop.hsm.piv.discovery import readers, with_card
from fidoloop.hsm.piv.pcsc import ConnectionLost

AID: Final = bytes.fromhex("A000000647AF0001")
MAX_RESPONSE_BYTES: Final = 0x10000
_SELECT, _VERIFY, _UAF_COMMAND = 0xA4, 0x20, 0x36
_BY_NAME, _NO_ANSWER = 0x04, 0x0C
_PROPRIETARY = 0x80
_FIRST, _NEXT = 0, 1
_TOTAL_LENGTH: Final = b"\x13\x28"
_WRONG_PIN, _PIN_BLOCKED = 0x63C0, 0x6983


class Answer(NamedTuple):
    """A status word, and the TLV response, which is empty where the word is another one than 9000."""

    word: int
    response: bytes


class UafCard:
    """The card in one reader. Every exchange is one transaction, in which nobody else's commands come between."""

    def __init__(self, reader: str) -> None:
        """Name the reader, by its whole name or a part; of several that have it, the only one with a card counts.

        Raises:
            TokenAbsent: no such reader, or no PC/SC; TokenAmbiguous; ModuleError.
        """
        there = readers()
        named = [name for name in there if name == reader] or [name for name in there if reader in name]
        if not named:
            raise TokenAbsent(f"no such reader; there are: {', '.join(map(repr, there)) or 'none'}")
        if len(named) > 1:
            occupied = with_card(named)
            named = occupied if len(occupied) == 1 else named
        if len(named) > 1:
            raise TokenAmbiguous(f"{len(named)} readers match: name one of {', '.join(map(repr, named))}")
        self.reader: Final = named[0]

    def exchange(self, command: bytes, *, pin: str | None = None) -> Answer:
        """Send a whole TLV command and return the whole answer; with `pin` the user is verified just before.

        Raises:
            PinIncorrect, PinLocked: of the PIN, which is sent once; nothing else was sent then.
            TokenAbsent: no card, or it is no UAF authenticator; DeviceTimeout; DeviceError: an answer that is none.
        """
        connection = Connection(self.reader)
        connection.limit = GENERATE_LIMIT
        with connection.lock:
            try:
                connection.enter()
                plain = Channel(connection.transmit, le_with_data=not connection.t0)
                self._select(plain)
                if pin is not None:
                    _verify(plain, pin)
                uaf = Channel(connection.transmit, le_with_data=not connection.t0, cla=_PROPRIETARY)
                try:
                    return Answer(OK, _whole(uaf, uaf.send(_UAF_COMMAND, 0, _FIRST, command)))
                except StatusError as refused:
                    return Answer(refused.sw, b"")
            except ConnectionLost as lost:
                raise lost.error from None
            finally:
                connection.close()

    def _select(self, channel: Channel) -> None:
        try:
            channel.send(_SELECT, _BY_NAME, _NO_ANSWER, AID, answer=False)
        except StatusError as refused:
            raise TokenAbsent(
                f"the card in reader {self.reader!r} is no UAF authenticator ({refused.sw:04X})"
            ) from None


def _verify(channel: Channel, pin: str) -> None:
    encoded = pin.encode()
    if not 0 < len(encoded) <= 0xFF:
        raise PinIncorrect("the PIN is wrong (its length)")
    try:
        channel.send(_VERIFY, 0, 0, encoded, answer=False)
    except StatusError as refused:
        if refused.sw & 0xFFF0 == _WRONG_PIN:
            raise PinIncorrect("the PIN is wrong", tries_left=refused.sw & 0x0F) from None
        if refused.sw == _PIN_BLOCKED:
            raise PinLocked("the card's PIN is locked after too many wrong tries") from None
        raise DeviceError(f"the card does not take a PIN ({refused.sw:04X})") from None


def _whole(channel: Channel, answer: bytes) -> bytes:
    """Return the whole response where a card announces its length (tag 2813) instead of holding it back."""
    if not answer.startswith(_TOTAL_LENGTH):
        return answer
    total = int.from_bytes(answer[4:], "little")
    if not 0 < total <= MAX_RESPONSE_BYTES:
        raise DeviceError(f"the card announces an answer of {total} bytes")
    response = b""
    while len(response) < total:
        part = channel.send(_UAF_COMMAND, 0, _NEXT)
        if not part:
            raise DeviceError("the card's answer ends before its announced length")
        response += part
    return response[:total]
