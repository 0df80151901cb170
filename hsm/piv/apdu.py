"""Commands and answers of a card (ISO/IEC 7816-4): short and extended lengths, command chaining, GET RESPONSE."""

from collections.abc import Callable
from typing import Final

from fidoloop.hsm.errors import DeviceError

OK: Final = 0x9000
_CHAINED: Final = 0x10
_SHORT: Final = 255
_MAX_ANSWER: Final = 0x10000
_MAX_ROUNDS: Final = 1024
_WRONG_LENGTH: Final = 0x6700

Transmit = Callable[[bytes], bytes]
"""Sends one command APDU and returns the answer: data, then the two bytes of the status word."""


class StatusError(Exception):
    """The card answered with a status word that is not 9000; `sw` is that word."""

    def __init__(self, sw: int, instruction: int) -> None:
        """Take the status word and the instruction (INS) it answers."""
        super().__init__(f"status word {sw:04X} (instruction {instruction:02X})")
        self.sw = sw
        self.instruction = instruction


class Channel:
    """Sends commands of any length over `transmit`; everything is answered by data or StatusError.

    `extended` says whether the card takes extended lengths; a card that then refuses one is spoken to in chained short
    commands from there on. `le_with_data` is False for T=0, where a command with data has no Le. `cla` is the class of
    the commands.
    """

    def __init__(self, transmit: Transmit, *, extended: bool = False, le_with_data: bool = True, cla: int = 0) -> None:
        """Take how to reach the card, and what its ATR and protocol offer."""
        self._transmit = transmit
        self._cla = cla
        self.extended = extended
        self.le_with_data = le_with_data

    def send(self, ins: int, p1: int, p2: int, data: bytes = b"", *, answer: bool = True) -> bytes:
        """Send one command and return the whole answer's data.

        Args:
            ins: the instruction.
            p1: first parameter.
            p2: second parameter.
            data: command data, sent in chained commands or extended where it is longer than 255 bytes.
            answer: whether data may come back (Le is sent).

        Raises:
            StatusError: the card refused; DeviceError: its answer is no answer.
        """
        if len(data) > _SHORT and self.extended:
            try:
                return self._send_extended(ins, p1, p2, data, answer=answer)
            except StatusError as error:
                if error.sw != _WRONG_LENGTH:
                    raise
                self.extended = False
        while len(data) > _SHORT:
            block, data = data[:_SHORT], data[_SHORT:]
            self._collect(bytes((self._cla | _CHAINED, ins, p1, p2, _SHORT)) + block, b"")
        body = bytes((len(data),)) + data if data else b""
        le = b"\0" if answer and (self.le_with_data or not data) else b""
        return self._collect(bytes((self._cla, ins, p1, p2)) + body, le)

    def _send_extended(self, ins: int, p1: int, p2: int, data: bytes, *, answer: bool) -> bytes:
        head = bytes((self._cla, ins, p1, p2, 0)) + len(data).to_bytes(2, "big")
        return self._collect(head + data, b"\0\0" if answer else b"")

    def _collect(self, command: bytes, le: bytes) -> bytes:
        """Send `command`, fetch what the card holds back (61xx), and repeat with its Le where it insists (6Cxx)."""
        answer = self._transmit(command + le)
        if answer[-2:] == b"\x90\x00":
            return answer[:-2]
        instruction = command[1]
        data, sw = _split(answer)
        if sw >> 8 == 0x6C:
            data, sw = _split(self._transmit(command + bytes((sw & 0xFF,))))
        rounds = 0
        while sw >> 8 == 0x61:
            rounds += 1
            if len(data) > _MAX_ANSWER or rounds > _MAX_ROUNDS:
                raise DeviceError(f"the card's answer to instruction {instruction:02X} does not end")
            more, sw = _split(self._transmit(bytes((0, 0xC0, 0, 0, sw & 0xFF))))
            data += more
        if sw != OK:
            raise StatusError(sw, instruction)
        return data


def _split(answer: bytes) -> tuple[bytes, int]:
    """Return data and status word."""
    if len(answer) < 2:
        raise DeviceError("the card answered without a status word")
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def offers_extended_length(atr: bytes) -> bool:
    """Tell whether the card's ATR says it takes extended lengths (ISO/IEC 7816-4 8.1.1.2.7, third function table)."""
    historical = _historical_bytes(atr)
    if not historical or historical[0] not in (0x00, 0x80):
        return False
    position, end = 1, len(historical) - (3 if historical[0] == 0x00 else 0)
    while position < end:
        tag, size = historical[position] >> 4, historical[position] & 0x0F
        value = historical[position + 1 : position + 1 + size]
        if tag == 7 and len(value) >= 3:
            return bool(value[2] & 0x40)
        position += 1 + size
    return False


def _historical_bytes(atr: bytes) -> bytes:
    """Return the historical bytes of an ATR (ISO/IEC 7816-3 8.2), nothing where it is malformed."""
    if len(atr) < 2:
        return b""
    count, present, position = atr[1] & 0x0F, atr[1] >> 4, 2
    while present:
        position += (present & 7).bit_count()
        if not present & 8:
            break
        if position >= len(atr):
            return b""
        present = atr[position] >> 4
        position += 1
    return atr[position : position + count] if position + count <= len(atr) else b""
