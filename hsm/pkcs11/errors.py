"""The one table from PKCS#11's return values to this room's errors."""

import re
from typing import Final

import pkcs11 as p11

from fidoloop.hsm.errors import (
    KeyGone,
    KeyStoreError,
    ModuleError,
    NotSupported,
    PinIncorrect,
    PinLocked,
    PinRequired,
    TokenAbsent,
    TokenAmbiguous,
    TokenFull,
    TokenNotInitialised,
    TokenReadOnly,
)

STALE: Final = (
    p11.KeyHandleInvalid,
    p11.ObjectHandleInvalid,
    p11.SessionHandleInvalid,
    p11.SessionClosed,
    p11.UserNotLoggedIn,
    p11.OperationActive,
    p11.OperationNotInitialized,
    p11.DeviceRemoved,
    p11.TokenNotPresent,
    p11.DeviceError,
)
"""A held session or handle may just be out of date: worth opening and finding again, once."""

WRONG_PIN: Final = (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange)

_LOGGED_IN_ELSEWHERE = (
    "something else in this process is logged in to this token: open it through one module, by one path"
)

TABLE: Final[dict[type[p11.PKCS11Error], tuple[type[KeyStoreError], str]]] = {
    p11.PinIncorrect: (PinIncorrect, "the PIN is wrong"),
    p11.PinInvalid: (PinIncorrect, "the PIN is wrong (it has characters the token does not take)"),
    p11.PinLenRange: (PinIncorrect, "the PIN is wrong (its length)"),
    p11.PinLocked: (PinLocked, "the PIN is locked after too many wrong tries"),
    p11.PinExpired: (PinLocked, "the PIN has expired and must be changed"),
    p11.UserPinNotInitialized: (TokenNotInitialised, "the token has no user PIN yet"),
    p11.UserNotLoggedIn: (PinRequired, "the token wants a PIN"),
    p11.TokenNotPresent: (TokenAbsent, "the token is not there any more"),
    p11.TokenNotRecognised: (TokenAbsent, "the module does not know this token"),
    p11.DeviceRemoved: (TokenAbsent, "the token was pulled out"),
    p11.DeviceError: (TokenAbsent, "the device, or the process that has the keys, does not answer"),
    p11.SlotIDInvalid: (TokenAbsent, "the token's slot is not there any more"),
    p11.UserAlreadyLoggedIn: (ModuleError, _LOGGED_IN_ELSEWHERE),
    p11.AnotherUserAlreadyLoggedIn: (ModuleError, _LOGGED_IN_ELSEWHERE),
    p11.NoSuchToken: (TokenAbsent, "no such token"),
    p11.MultipleTokensReturned: (TokenAmbiguous, "several tokens match"),
    p11.DeviceMemory: (TokenFull, "the token is full"),
    p11.TokenWriteProtected: (TokenReadOnly, "the token is write-protected"),
    p11.SessionReadOnly: (TokenReadOnly, "the token can only be read"),
    p11.SessionReadOnlyExists: (TokenReadOnly, "the token can only be read"),
    p11.KeyHandleInvalid: (KeyGone, "the key is not in the token any more"),
    p11.ObjectHandleInvalid: (KeyGone, "the key is not in the token any more"),
    p11.NoSuchKey: (KeyGone, "no such key"),
    p11.MechanismInvalid: (NotSupported, "the token cannot do this"),
    p11.MechanismParamInvalid: (NotSupported, "the token cannot do this with these parameters"),
    p11.FunctionNotSupported: (NotSupported, "the module cannot do this"),
    p11.DomainParamsInvalid: (NotSupported, "the token does not know this curve"),
    p11.KeySizeRange: (NotSupported, "the token does not take keys of this size"),
    p11.KeyTypeInconsistent: (NotSupported, "this kind of key cannot do this"),
}


def translate(error: p11.PKCS11Error, doing: str) -> KeyStoreError:
    """Turn python-pkcs11's error into ours; one not in the table becomes ModuleError with its CKR name.

    Args:
        error: what python-pkcs11 raised; its text holds no PIN.
        doing: what was being done, as "while ..." completes it.
    """
    for kind in type(error).__mro__:
        row = TABLE.get(kind)
        if row is not None:
            family, message = row
            return (
                family(message) if family is PinIncorrect else family(f"{message} ({ckr_name(error)}, while {doing})")
            )
    detail = f": {error}" if str(error) else ""
    return ModuleError(f"the PKCS#11 module failed with {ckr_name(error)} while {doing}{detail}")


def reason_not_loaded(error: p11.PKCS11Error, path: str) -> str:
    """Say why a module was not loaded or initialised, without its path, which python-pkcs11 says twice."""
    text = str(error).removeprefix(f"OS exception while loading {path}: ").removeprefix(f"{path}: ")
    return text or f"it answers {ckr_name(error)} to C_Initialize"


def ckr_name(error: p11.PKCS11Error) -> str:
    """Return the name of the PKCS#11 return value: SessionHandleInvalid -> CKR_SESSION_HANDLE_INVALID."""
    if type(error) is p11.PKCS11Error:
        return "an unnamed return value"
    return "CKR_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()


def tries_left(flags: int) -> int | None:
    """Read CK_TOKEN_INFO's flags after a wrong PIN: 0 locked, 1 final try, None where the token does not say."""
    if flags & p11.TokenFlag.USER_PIN_LOCKED:
        return 0
    return 1 if flags & p11.TokenFlag.USER_PIN_FINAL_TRY else None
