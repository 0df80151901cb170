"""Command APDUs (ISO/IEC 7816-4, 5.1 and 5.6) as a card reads them, and the status words it answers with."""

from dataclasses import dataclass
from enum import IntEnum


class StatusWord(IntEnum):
    """SW1-SW2 (ISO/IEC 7816-4, 5.6)."""

    OK = 0x9000
    BYTES_REMAINING = 0x6100
    VERIFICATION_FAILED = 0x63C0
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    LOGICAL_CHANNEL_NOT_SUPPORTED = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
    LAST_OF_CHAIN_EXPECTED = 0x6883
    SECURITY_STATUS_NOT_SATISFIED = 0x6982
    AUTHENTICATION_BLOCKED = 0x6983
    CONDITIONS_NOT_SATISFIED = 0x6985
    INCORRECT_DATA = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    NOT_FOUND = 0x6A82
    NOT_ENOUGH_MEMORY = 0x6A84
    INCORRECT_P1_P2 = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    INSTRUCTION_NOT_SUPPORTED = 0x6D00
    CLASS_NOT_SUPPORTED = 0x6E00


class ApduError(Exception):
    """The command is answered with this status word, and data where an application's own status comes with some."""

    def __init__(self, status: int, data: bytes = b"") -> None:
        """Take the status word, 0x6281 to 0x6FFF or 0x9100 to 0x9FFF, and up to 256 bytes."""
        super().__init__(f"{status:04X}")
        self.status = status
        self.data = data


@dataclass(frozen=True)
class Command:
    """One command; chaining is put together already.

    `ne` is the largest number of bytes wanted back, 0 where the command has no Le field.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    ne: int = 0
    extended: bool = False

    def require(self, *, p1: int | None = None, p2: int | None = None) -> None:
        """Refuse other parameters than these with 6A86."""
        if (p1 is not None and self.p1 != p1) or (p2 is not None and self.p2 != p2):
            raise ApduError(StatusWord.INCORRECT_P1_P2)

    def without_data(self) -> None:
        """Refuse a data field with 6700."""
        if self.data:
            raise ApduError(StatusWord.WRONG_LENGTH)


def parse_command(raw: bytes) -> Command:
    """Parse a command APDU of any of the seven cases (ISO/IEC 7816-3, 12.1.3).

    Raises:
        ApduError: 6700, the lengths contradict each other.
    """
    if len(raw) < 4:
        raise ApduError(StatusWord.WRONG_LENGTH)
    body = raw[4:]
    extended = len(body) >= 3 and body[0] == 0
    if not body:
        data, ne = b"", 0
    elif len(body) == 1:
        data, ne = b"", body[0] or 0x100
    elif extended and len(body) == 3:
        data, ne = b"", int.from_bytes(body[1:]) or 0x10000
    else:
        data, ne = _data_and_ne(body, extended=extended)
    return Command(raw[0], raw[1], raw[2], raw[3], data, ne, extended)


def _data_and_ne(body: bytes, *, extended: bool) -> tuple[bytes, int]:
    width = 2 if extended else 1
    start = 3 if extended else 1
    length = int.from_bytes(body[start - width : start])
    data, rest = body[start : start + length], body[start + length :]
    if not length or len(data) != length or len(rest) not in (0, width):
        raise ApduError(StatusWord.WRONG_LENGTH)
    return data, (int.from_bytes(rest) or 0x100**width) if rest else 0
