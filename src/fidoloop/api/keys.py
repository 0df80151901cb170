"""Key stores: keys that stay in their device and are `cryptography` private keys all the same."""

from fidoloop.authenticator.attestation import attest_init
from fidoloop.hsm.errors import (
    DeviceError,
    KeyExists,
    KeyGone,
    KeyStoreError,
    ModuleError,
    NotSupported,
    PinIncorrect,
    PinLocked,
    PinRequired,
    TokenAbsent,
    UriError,
)
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyInfo, KeyStore, KeyUsage, TokenInfo
from fidoloop.hsm.open import open_key_store

__all__ = [
    "DeviceError",
    "HardwareKey",
    "KeyAlgorithm",
    "KeyExists",
    "KeyGone",
    "KeyInfo",
    "KeyStore",
    "KeyStoreError",
    "KeyUsage",
    "ModuleError",
    "NotSupported",
    "PinIncorrect",
    "PinLocked",
    "PinRequired",
    "TokenAbsent",
    "TokenInfo",
    "UriError",
    "attest_init",
    "open_key_store",
]
