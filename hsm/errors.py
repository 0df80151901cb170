"""The one family of errors of key hardware: everything above this room understands these and nothing else.

No message ever holds a PIN.
"""

from typing import ClassVar


class KeyStoreError(Exception):
    """Something about a key store did not work; `code` is stable and meant for programs."""

    code: ClassVar[str] = "key_store"


class UriError(KeyStoreError, ValueError):
    """The key-store URI (RFC 7512) is malformed, or asks for something this program does not do."""

    code = "uri"


class TokenAmbiguous(UriError):
    """Several tokens match the URI: it has to be more precise."""

    code = "token_ambiguous"


class ModuleError(KeyStoreError):
    """The PKCS#11 module or PC/SC cannot be used, or the module failed in a way that has no error of its own here."""

    code = "module"


class DeviceError(KeyStoreError):
    """The device refused or answered in a way that has no error of its own here; the message gives its status."""

    code = "device"


class PinRequired(KeyStoreError):
    """The token wants a PIN and none was given, or the file that should hold it cannot be read."""

    code = "pin_required"


class PinIncorrect(KeyStoreError):
    """The token refused the PIN; `tries_left` is None where the token does not say."""

    code = "pin_incorrect"

    def __init__(self, message: str = "the PIN is wrong", *, tries_left: int | None = None) -> None:
        """Add how many tries are left to the message when that is known."""
        super().__init__(message if tries_left is None else f"{message} (tries left: {tries_left})")
        self.tries_left = tries_left


class PinLocked(KeyStoreError):
    """The PIN is locked or expired: only the security officer (or the PUK) helps."""

    code = "pin_locked"


class ManagementKeyRequired(PinRequired):
    """The card wants its management key for this, and none was given, or what was given is no such key."""

    code = "management_key_required"


class ManagementKeyIncorrect(PinIncorrect):
    """The card refused the management key, or did not prove that it knows it."""

    code = "management_key_incorrect"


class TokenAbsent(KeyStoreError):
    """No token with this label, serial number, ... is there (any more)."""

    code = "token_absent"


class TokenNotInitialised(TokenAbsent):
    """The token is there, but was never initialised or has no user PIN yet."""

    code = "token_not_initialised"


class DeviceTimeout(KeyStoreError):
    """The device did not answer within its time limit; whether it did what was asked is not known."""

    code = "device_timeout"


class TokenFull(KeyStoreError):
    """The token has no room for another object."""

    code = "token_full"


class TokenReadOnly(KeyStoreError):
    """The token is write-protected."""

    code = "token_read_only"


class KeyGone(KeyStoreError):
    """No key with this CKA_ID is in the token (any more)."""

    code = "key_gone"


class KeyExists(KeyStoreError):
    """A key with this CKA_ID is in the token already."""

    code = "key_exists"


class KeyInUse(KeyStoreError):
    """The key serves something already."""

    code = "key_in_use"


class KeyRefused(KeyStoreError):
    """The token made a key that is not what was asked for (extractable, not sensitive, not made inside)."""

    code = "key_refused"


class NotSupported(KeyStoreError):
    """The module, or this kind of key, cannot do what was asked."""

    code = "not_supported"
