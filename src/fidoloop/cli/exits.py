"""Exit codes and the one table that turns error families into them."""

import sqlite3
from enum import IntEnum
from typing import Final

from fidoloop.authenticator.errors import AsmError, TamperedStateError
from fidoloop.bridge.errors import (
    BridgeError,
    ClientFailureError,
    DeviceMissingError,
    NetworkError,
    NotInstalledError,
    UserDeclinedError,
)
from fidoloop.bridge.profile import ProfileMissingError
from fidoloop.hsm.errors import KeyStoreError, UriError
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.values import EvidenceRefusal
from fidoloop.protocol.uaf.status import AsmStatus, ClientError
from fidoloop.server.errors import ConfigError, ListenError, ServerError


class Exit(IntEnum):
    """What the command's exit code means to a script."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    DEVICE = 3
    NETWORK = 4
    USER = 5


TABLE: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (UriError, Exit.USAGE),
    (KeyStoreError, Exit.DEVICE),
    (TamperedStateError, Exit.DEVICE),
    (AsmError, Exit.DEVICE),
    (NetworkError, Exit.NETWORK),
    (UserDeclinedError, Exit.USER),
    (ProfileMissingError, Exit.USAGE),
    (DeviceMissingError, Exit.DEVICE),
    (NotInstalledError, Exit.USAGE),
    (sqlite3.OperationalError, Exit.DEVICE),  # the phone's file: no room, or somebody else holds it
    (BridgeError, Exit.REFUSED),
    (MalformedError, Exit.REFUSED),
    (EvidenceRefusal, Exit.REFUSED),
    (ConfigError, Exit.USAGE),
    (ListenError, Exit.NETWORK),
    (ServerError, Exit.REFUSED),
)
"""Error families and their exit codes; the first row that fits counts."""

CLIENT_ERRORS: Final[dict[ClientError, Exit]] = {
    ClientError.USER_CANCELLED: Exit.USER,
    ClientError.USER_NOT_RESPONSIVE: Exit.USER,
    ClientError.KEY_DISAPPEARED_PERMANENTLY: Exit.DEVICE,
    ClientError.INSUFFICIENT_AUTHENTICATOR_RESOURCES: Exit.DEVICE,
    ClientError.USER_LOCKOUT: Exit.DEVICE,
}
"""What the UAF client's failures mean to a script; those not here are refusals."""


def exit_for(error: BaseException) -> Exit | None:
    """Return the exit code for an error, None for one that is no error of ours and deserves its traceback."""
    if isinstance(error, ClientFailureError):
        if error.asm_status is AsmStatus.AUTHENTICATOR_DISCONNECTED:
            return Exit.DEVICE
        return CLIENT_ERRORS.get(error.error, Exit.REFUSED)
    if isinstance(error, OSError) and error.filename is not None:
        return Exit.USAGE  # a file or directory the user named cannot be read, made or written
    return next((code for family, code in TABLE if isinstance(error, family)), None)
