"""What keeps a command from being carried out, as the status byte that tells of it (CTAP 2.1, section 8.2)."""

import sqlite3

from fido2.ctap import CtapError

from fidoloop.authenticator.errors import REFUSALS, AuthenticatorError, CommandStatus, Refusal, TamperedStateError
from fidoloop.hsm import errors as hsm

ERR = CtapError.ERR
"""Status codes by their names in the specification, without CTAP1_ERR_ or CTAP2_ERR_."""

_OF_USER: dict[CommandStatus, ERR] = {
    CommandStatus.USER_CANCELLED: ERR.OPERATION_DENIED,
    CommandStatus.ACCESS_DENIED: ERR.OPERATION_DENIED,
    CommandStatus.USER_NOT_RESPONSIVE: ERR.USER_ACTION_TIMEOUT,
    CommandStatus.TIMEOUT: ERR.USER_ACTION_TIMEOUT,
    CommandStatus.USER_LOCKOUT: ERR.UV_BLOCKED,
}

# First match wins: subclasses before their bases.
_OF_KEY_STORE: tuple[tuple[type[hsm.KeyStoreError], ERR], ...] = (
    (hsm.TokenFull, ERR.KEY_STORE_FULL),
    (hsm.KeyGone, ERR.NO_CREDENTIALS),
    (hsm.NotSupported, ERR.UNSUPPORTED_ALGORITHM),
    (hsm.TokenReadOnly, ERR.NOT_ALLOWED),
)


FAILURES = (*REFUSALS, sqlite3.Error)
"""Everything that keeps a command from being carried out, beside CtapError."""


def status_of(error: Refusal | sqlite3.Error) -> ERR:
    """Return the status for what the user, the key hardware, the stored state or its file refused."""
    if isinstance(error, AuthenticatorError):
        return _OF_USER.get(error.status, ERR.OTHER)
    if isinstance(error, TamperedStateError):
        return ERR.INTEGRITY_FAILURE
    return next((status for kind, status in _OF_KEY_STORE if isinstance(error, kind)), ERR.OTHER)
