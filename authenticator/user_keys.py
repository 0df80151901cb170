"""Where an authenticator's user keys come from, by their KeyIDs: made in the token, or (adopted.py) in it before."""

import contextlib
from typing import Protocol

from fidoloop.hsm.errors import KeyGone
from fidoloop.hsm.keystore import HardwareKey, KeyAlgorithm, KeyStore, KeyUsage


class UserKeys(Protocol):
    """The user keys of one authenticator. Every method may raise KeyStoreError."""

    def make(self, algorithm: KeyAlgorithm, key_id: bytes, label: str) -> HardwareKey:
        """Return a key of this kind to sign with, which from now on is `key_id`'s."""

    def open(self, key_id: bytes) -> HardwareKey:
        """Return the key of `key_id`. Raises KeyGone."""

    def discard(self, key_id: bytes) -> None:
        """Give up the key of `key_id`; no error where there is none."""


class MadeKeys:
    """A new key pair for every registration; its KeyID is its CKA_ID, and it is destroyed with the registration."""

    def __init__(self, store: KeyStore) -> None:
        """Take the token to make keys in."""
        self._store = store

    def make(self, algorithm: KeyAlgorithm, key_id: bytes, label: str) -> HardwareKey:
        """Make the key pair."""
        return self._store.generate(algorithm, KeyUsage.SIGN, key_id=key_id, label=label)

    def open(self, key_id: bytes) -> HardwareKey:
        """Open the key in the token."""
        return self._store.key(key_id)

    def discard(self, key_id: bytes) -> None:
        """Destroy the key; gone is what was asked for."""
        with contextlib.suppress(KeyGone):
            self._store.delete(key_id)
