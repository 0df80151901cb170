"""Where tpm2-pkcs11 keeps a token's keys: a SQLite file whose blobs only their TPM can use (its docs/DB.md and code).

Read only, and only what an attestation needs. The PIN opens a sealed wrapping key, which opens the key's password.
"""

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fidoloop.hsm.errors import KeyGone, ModuleError, NotSupported

_FILE: Final = "tpm2_pkcs11.sqlite3"
_SCHEMAS: Final = range(5, 9)
"""Versions of tpm2-pkcs11's schema that have these columns: 5 (1.6) to 8 (1.9)."""
# PKCS#11 attributes as the file numbers them, the last three being tpm2-pkcs11's own.
_CLASS, _ID, _AUTH, _PUBLIC, _PRIVATE = 0x0, 0x102, 0x8F000001, 0x8F000002, 0x8F000003
_PRIVATE_KEY: Final = "3"
_ATTRIBUTE = re.compile(r'\? !!int "(\d+)"\s*: !!(?:int|str) "([^"]*)"')
_SETTING = re.compile(r'\? !!str "([^"]+)"\s*: !!\w+ "([^"]*)"')


@dataclass(frozen=True)
class StoredKey:
    """A key as the file has it: blobs with their lengths before them, its password still encrypted."""

    parent: int
    parent_auth: bytes = field(repr=False)
    public: bytes
    private: bytes
    sealed_public: bytes
    sealed_private: bytes
    seal_salt: bytes
    encrypted_auth: bytes
    transport: str | None

    def seal_auth(self, pin: str) -> bytes:
        """Return the password of the sealed wrapping key: 32 hexadecimal characters of a hash of PIN and salt."""
        return hashlib.sha256(pin.encode() + self.seal_salt).hexdigest()[:32].encode()

    def key_auth(self, wrapping_key: bytes) -> bytes:
        """Return the key's password, decrypted by the unsealed wrapping key. Raises ModuleError."""
        if not self.encrypted_auth:
            return b""
        try:
            nonce, tag, ciphertext = (bytes.fromhex(part.decode()) for part in self.encrypted_auth.split(b":"))
            return AESGCM(bytes.fromhex(wrapping_key.decode())).decrypt(nonce, ciphertext + tag, None)
        except (ValueError, InvalidTag):
            raise ModuleError("tpm2-pkcs11's file and the TPM do not fit together") from None


def stored_key(label: str, key_id: bytes) -> StoredKey:
    """Find a private key in tpm2-pkcs11's files.

    Args:
        label: the token's.
        key_id: CKA_ID.

    Raises:
        NotSupported: no such file, one of another version, or a token whose parent key is not persistent.
        KeyGone: the token has no such key.
    """
    for path in _files():
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as file:
            try:
                found = _find(file, label, key_id)
            except sqlite3.Error as error:
                raise NotSupported(f"tpm2-pkcs11's file {path} cannot be read: {error}") from None
        if found is not None:
            return found
    raise NotSupported(f"no file of tpm2-pkcs11 has the token {label!r}: set TPM2_PKCS11_STORE to its directory")


def _files() -> Iterator[Path]:
    """Yield the files the module may use (its docs/INITIALIZING.md)."""
    named = os.environ.get("TPM2_PKCS11_STORE")
    places = [Path(named)] if named else [Path("/etc/tpm2_pkcs11"), Path.home() / ".tpm2_pkcs11", Path.cwd()]
    yield from (place / _FILE for place in places if (place / _FILE).is_file())


def _find(file: sqlite3.Connection, label: str, key_id: bytes) -> StoredKey | None:
    (version,) = file.execute("SELECT schema_version FROM schema").fetchone()
    if version not in _SCHEMAS:
        raise NotSupported(f"tpm2-pkcs11's file is of version {version}; {_SCHEMAS[0]} to {_SCHEMAS[-1]} are known")
    token = file.execute(
        "SELECT tokens.id, tokens.config, pobjects.config, pobjects.objauth, userpub, userpriv, userauthsalt"
        " FROM tokens JOIN pobjects ON pobjects.id = pid LEFT JOIN sealobjects ON tokid = tokens.id WHERE label = ?",
        (label,),
    ).fetchone()
    if token is None:
        return None
    token_id, config, parent_config, parent_auth, sealed_public, sealed_private, salt = token
    parent = dict(_SETTING.findall(parent_config)).get("esys-tr")
    if parent is None or sealed_public is None:
        raise NotSupported("the token's parent key is not persistent, or it has no user PIN: nothing to attest under")
    for (text,) in file.execute("SELECT attrs FROM tobjects WHERE tokid = ?", (token_id,)):
        attributes = {int(number): value for number, value in _ATTRIBUTE.findall(text)}
        if attributes.get(_CLASS) == _PRIVATE_KEY and attributes.get(_ID) == key_id.hex():
            return StoredKey(
                parent=int(parent[:8], 16),  # a serialised ESYS_TR begins with the handle
                parent_auth=parent_auth.encode(),
                public=bytes.fromhex(attributes[_PUBLIC]),
                private=bytes.fromhex(attributes[_PRIVATE]),
                sealed_public=sealed_public,
                sealed_private=sealed_private,
                seal_salt=salt.encode() if isinstance(salt, str) else salt,
                encrypted_auth=bytes.fromhex(attributes.get(_AUTH, "")),
                transport=dict(_SETTING.findall(config)).get("tcti"),
            )
    raise KeyGone(f"tpm2-pkcs11's file has no private key with id {key_id.hex()}")
