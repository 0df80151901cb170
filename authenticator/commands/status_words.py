"""Command statuses as status words of a card, and back (UAF APDU 1.1; digest section 7.1)."""

from typing import Final

from fidoloop.authenticator.errors import CommandStatus

STATUS_WORDS: Final[dict[CommandStatus, int]] = {
    CommandStatus.OK: 0x9000,
    CommandStatus.ACCESS_DENIED: 0x6982,
    CommandStatus.USER_NOT_ENROLLED: 0x6A88,
    CommandStatus.CMD_NOT_SUPPORTED: 0x6400,
    CommandStatus.ATTESTATION_NOT_SUPPORTED: 0x6A81,
    CommandStatus.PARAMS_INVALID: 0x6A80,
    CommandStatus.KEY_DISAPPEARED_PERMANENTLY: 0x6983,
}
_BYTES_REMAINING = 0x61


def status_of_word(word: int) -> CommandStatus:
    """Return the command status that a host takes a status word for."""
    if word >> 8 == _BYTES_REMAINING:
        return CommandStatus.OK
    return next((status for status, known in STATUS_WORDS.items() if known == word), CommandStatus.ERR_UNKNOWN)
