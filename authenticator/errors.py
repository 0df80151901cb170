"""Errors of the phone's authenticator: command status codes, and how they and key-store errors become ASM status."""

from enum import IntEnum

from fidoloop.hsm import errors as hsm
from fidoloop.protocol.uaf.status import AsmStatus


class CommandStatus(IntEnum):
    """UAF_CMD_STATUS_* (UAF authenticator commands 1.1, 4.2; digest section 7)."""

    OK = 0x00
    ERR_UNKNOWN = 0x01
    ACCESS_DENIED = 0x02
    USER_NOT_ENROLLED = 0x03
    CANNOT_RENDER_TRANSACTION_CONTENT = 0x04
    USER_CANCELLED = 0x05
    CMD_NOT_SUPPORTED = 0x06
    ATTESTATION_NOT_SUPPORTED = 0x07
    PARAMS_INVALID = 0x08
    KEY_DISAPPEARED_PERMANENTLY = 0x09
    TIMEOUT = 0x0A
    USER_NOT_RESPONSIVE = 0x0E
    INSUFFICIENT_RESOURCES = 0x0F
    USER_LOCKOUT = 0x10


class AuthenticatorError(Exception):
    """A command was not carried out; `status` says why."""

    def __init__(self, status: CommandStatus, detail: str) -> None:
        super().__init__(f"{status.name}: {detail}")
        self.status = status
        self.detail = detail


class AsmError(Exception):
    """An ASM request was not carried out; `status` is what the client is told (ASM API 3.2.3)."""

    def __init__(self, status: AsmStatus, detail: str) -> None:
        super().__init__(f"{status.name}: {detail}")
        self.status = status
        self.detail = detail


class TamperedStateError(Exception):
    """A row of the phone's state does not bear the MAC of this token's key: nothing is signed with it."""


REFUSALS = (AuthenticatorError, hsm.KeyStoreError, TamperedStateError)
"""Everything an authenticator raises."""
Refusal = AuthenticatorError | hsm.KeyStoreError | TamperedStateError


_OF_COMMAND: dict[CommandStatus, AsmStatus] = {
    CommandStatus.OK: AsmStatus.OK,
    CommandStatus.ACCESS_DENIED: AsmStatus.ACCESS_DENIED,
    CommandStatus.USER_NOT_ENROLLED: AsmStatus.USER_NOT_ENROLLED,
    CommandStatus.CANNOT_RENDER_TRANSACTION_CONTENT: AsmStatus.CANNOT_RENDER_TRANSACTION_CONTENT,
    CommandStatus.USER_CANCELLED: AsmStatus.USER_CANCELLED,
    CommandStatus.KEY_DISAPPEARED_PERMANENTLY: AsmStatus.KEY_DISAPPEARED_PERMANENTLY,
    CommandStatus.USER_NOT_RESPONSIVE: AsmStatus.USER_NOT_RESPONSIVE,
    CommandStatus.INSUFFICIENT_RESOURCES: AsmStatus.INSUFFICIENT_AUTHENTICATOR_RESOURCES,
    CommandStatus.USER_LOCKOUT: AsmStatus.USER_LOCKOUT,
}

# First match wins: subclasses before their bases.
_OF_KEY_STORE: tuple[tuple[type[hsm.KeyStoreError], CommandStatus], ...] = (
    (hsm.KeyGone, CommandStatus.KEY_DISAPPEARED_PERMANENTLY),
    (hsm.TokenFull, CommandStatus.INSUFFICIENT_RESOURCES),
    (hsm.PinLocked, CommandStatus.USER_LOCKOUT),
    (hsm.PinIncorrect, CommandStatus.ACCESS_DENIED),
    (hsm.PinRequired, CommandStatus.ACCESS_DENIED),
    (hsm.DeviceTimeout, CommandStatus.TIMEOUT),
)


def command_status(error: Refusal) -> CommandStatus:
    """Return the status that a command is answered with where `error` kept it from being carried out."""
    if isinstance(error, AuthenticatorError):
        return error.status
    if isinstance(error, TamperedStateError):
        return CommandStatus.ACCESS_DENIED
    return next((status for kind, status in _OF_KEY_STORE if isinstance(error, kind)), CommandStatus.ERR_UNKNOWN)


def asm_status_of_command(status: CommandStatus, *, signing: bool) -> AsmStatus:
    """Return the ASM's status for a command's (digest section 8: not enrolled is refused when signing)."""
    if signing and status is CommandStatus.USER_NOT_ENROLLED:
        return AsmStatus.ACCESS_DENIED
    return _OF_COMMAND.get(status, AsmStatus.ERROR)


def asm_status_of_key_store(error: hsm.KeyStoreError) -> AsmStatus:
    """Return the ASM's status for an error of the key hardware; a token that is not there is a disconnected one."""
    if isinstance(error, hsm.TokenAbsent):
        return AsmStatus.AUTHENTICATOR_DISCONNECTED
    return asm_status_of_command(command_status(error), signing=False)
