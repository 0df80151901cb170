"""Keys the phone did not make: a person has it adopt one that is in the token, and a registration takes it.

Nobody knows how such a key came there, so its models claim less (models.py, kind 07). One adopted key serves one
registration at a time; it is never destroyed by the phone, and is free again after a deregistration. Which is whose is
in the phone's file, in rows that bear MACs like all others.
"""

import hashlib
import os
import sqlite3
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from fidoloop.authenticator.attestation import ATTESTATION_KEY_ID, CA_KEY_ID
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.hsm.errors import KeyGone, KeyInUse, KeyRefused, NotSupported
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyInfo, KeyStore, KeyUsage

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS adopted_key (token_key_id BLOB PRIMARY KEY, key_id BLOB UNIQUE, mac BLOB)
"""


class Adopted(msgspec.Struct, frozen=True):
    """A key of the token by its CKA_ID, and the KeyID of the registration it serves, None while it is free."""

    token_key_id: bytes
    key_id: bytes | None


class AdoptedKeys:
    """The adopted keys of one phone; `UserKeys` for its authenticators.

    Raises from every method: TamperedStateError where a row does not bear this token's MAC; KeyStoreError.
    """

    def __init__(self, state: AuthenticatorState, store: KeyStore) -> None:
        """Take the phone's state and the token; a file of before there were such keys gets their table."""
        self._state = state
        self._store = store
        with state.writing() as database:
            database.execute(_TABLE)

    def adopt(self, token_key_id: bytes) -> KeyInfo:
        """Have the phone adopt the key with this CKA_ID: one that signs on P-256, as is tried out here.

        Raises:
            KeyGone: there is no such key.
            NotSupported: it is of another kind, or not for signing.
            KeyInUse: it is adopted already, or is one of the keys fidoloop makes for itself.
            KeyRefused: its signature does not verify with its public key.
        """
        key = self._store.key(token_key_id)
        if key.info.algorithm is not KeyAlgorithm.P256 or KeyUsage.SIGN not in key.info.usage:
            raise NotSupported("only a P-256 key for signing can be adopted")
        assert isinstance(key, EcHardwareKey)
        own = {CA_KEY_ID, ATTESTATION_KEY_ID, *(entry.key_id for entry in self._state.registrations())}
        if token_key_id in own:
            raise KeyInUse(f"the key {token_key_id.hex()} is fidoloop's own already")
        _try_out(key)
        with self._state.writing() as database:
            if database.execute("SELECT 1 FROM adopted_key WHERE token_key_id = ?", (token_key_id,)).fetchone():
                raise KeyInUse(f"the key {token_key_id.hex()} is adopted already")
            database.execute(
                "INSERT INTO adopted_key (token_key_id, key_id, mac) VALUES (?, NULL, ?)",
                (token_key_id, self._mac(Adopted(token_key_id, None))),
            )
        return key.info

    def forget(self, token_key_id: bytes) -> None:
        """Undo an adoption; the key stays in the token. Raises KeyGone, and KeyInUse while it serves a registration."""
        with self._state.writing() as database:
            found = [entry for entry in self._rows(database) if entry.token_key_id == token_key_id]
            if not found:
                raise KeyGone(f"the key {token_key_id.hex()} is not adopted")
            if found[0].key_id is not None:
                raise KeyInUse(f"the key {token_key_id.hex()} serves a registration: deregister first")
            database.execute("DELETE FROM adopted_key WHERE token_key_id = ?", (token_key_id,))

    def all(self) -> list[Adopted]:
        """Return every adopted key in the order of their adoption."""
        with self._state.writing() as database:
            return self._rows(database)

    def room(self) -> bool:
        """Tell whether an adopted key is free."""
        return any(entry.key_id is None for entry in self.all())

    def make(self, algorithm: KeyAlgorithm, key_id: bytes, label: str) -> EcHardwareKey:
        """Take the adopted key that has been free the longest; the token's own label stays, and P-256 is what it is.

        Raises:
            AuthenticatorError: INSUFFICIENT_RESOURCES: none is free.
        """
        assert algorithm is KeyAlgorithm.P256
        with self._state.writing() as database:
            free = next((entry.token_key_id for entry in self._rows(database) if entry.key_id is None), None)
            if free is None:
                raise AuthenticatorError(
                    CommandStatus.INSUFFICIENT_RESOURCES,
                    "every adopted key serves a registration: adopt another one, or deregister",
                )
            key = self._opened(free)
            self._set(database, Adopted(free, key_id))
        return key

    def open(self, key_id: bytes) -> EcHardwareKey:
        """Open the adopted key that serves the registration. Raises KeyGone."""
        entry = next((entry for entry in self.all() if entry.key_id == key_id), None)
        if entry is None:
            raise KeyGone("no adopted key serves this registration")
        return self._opened(entry.token_key_id)

    def discard(self, key_id: bytes) -> None:
        """Free the adopted key; it stays in the token."""
        with self._state.writing() as database:
            for entry in self._rows(database):
                if entry.key_id == key_id:
                    self._set(database, Adopted(entry.token_key_id, None))

    def _opened(self, token_key_id: bytes) -> EcHardwareKey:
        key = self._store.key(token_key_id)
        if not isinstance(key, EcHardwareKey) or key.info.algorithm is not KeyAlgorithm.P256:
            raise KeyGone(f"the key {token_key_id.hex()} is not the one that was adopted")
        return key

    def _rows(self, database: sqlite3.Connection) -> list[Adopted]:
        found = []
        for token_key_id, key_id, mac in database.execute(
            "SELECT token_key_id, key_id, mac FROM adopted_key ORDER BY rowid"
        ).fetchall():
            entry = Adopted(token_key_id, key_id)
            self._state.check_mac(_fields(self._state.id, entry), mac)
            found.append(entry)
        return found

    def _set(self, database: sqlite3.Connection, entry: Adopted) -> None:
        database.execute(
            "UPDATE adopted_key SET key_id = ?, mac = ? WHERE token_key_id = ?",
            (entry.key_id, self._mac(entry), entry.token_key_id),
        )

    def _mac(self, entry: Adopted) -> bytes | None:
        return self._state.mac_of(_fields(self._state.id, entry))


def _fields(state_id: str, entry: Adopted) -> list[object]:
    return ["adopted_key", state_id, entry.token_key_id.hex(), None if entry.key_id is None else entry.key_id.hex()]


def _try_out(key: EcHardwareKey) -> None:
    digest = hashlib.sha256(os.urandom(32)).digest()
    raw = key.sign_digest_raw(digest)
    signature = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        key.public_key().verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except InvalidSignature:
        raise KeyRefused("the key's signature does not verify with the public key the token gives") from None
