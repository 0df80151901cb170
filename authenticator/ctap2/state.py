"""What outlasts the power: PIN, settings, resident credentials, the signature counter; one SQLite file.

Every row bears a MAC by a key of the token where it has HMAC, and so does every secret that is derived. Where it has
none, a secret in the file serves instead, which protects nothing from who has the file.
"""

import hmac
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from fidoloop.authenticator.ctap2.limits import MIN_PIN_LENGTH
from fidoloop.authenticator.errors import TamperedStateError
from fidoloop.authenticator.phone_file import COMMITS
from fidoloop.authenticator.token_file import TokenFile
from fidoloop.hsm.keystore import KeyStore

T = TypeVar("T")
MAC_KEY_ID: Final = b"fidoloop:ctap2-mac"
PIN_RETRIES: Final = 8
UV_RETRIES: Final = 5
EMPTY_LARGE_BLOBS: Final = bytes.fromhex("8076be8b528d0075f7aae98d6fa57a6d3c")
"""The initial serialized large-blob array (CTAP 2.1, section 6.10): an empty array, 16 bytes of the hash of it."""
_MAX_BLOCK: Final = 1024
_SCHEMA: Final = """
CREATE TABLE ctap2_meta (id TEXT PRIMARY KEY, secret BLOB NOT NULL);
CREATE TABLE ctap2_row (name TEXT PRIMARY KEY, content BLOB NOT NULL, mac BLOB);
CREATE TABLE ctap2_credential (key_id BLOB PRIMARY KEY, content BLOB NOT NULL, mac BLOB);
"""


class Settings(msgspec.Struct, frozen=True):
    """Everything but credentials. `epoch` is new after a reset, and with it all that is derived is new.

    `pin` is a MAC of the PIN's hash, None where none is set; `pin_length` its length in code points.
    """

    epoch: bytes
    pin: bytes | None = None
    pin_length: int = 0
    pin_retries: int = PIN_RETRIES
    uv_retries: int = UV_RETRIES
    always_uv: bool = False
    force_pin_change: bool = False
    min_pin_length: int = MIN_PIN_LENGTH
    min_pin_rp_ids: tuple[str, ...] = ()


class ResidentCredential(msgspec.Struct, frozen=True):
    """A discoverable credential: for whom it is, and its id. `created` orders them (1, 2, …)."""

    credential_id: bytes
    rp_id: str
    rp_id_hash: bytes
    user_id: bytes
    user_name: str | None = None
    user_display_name: str | None = None
    cred_blob: bytes = b""
    large_blob_key: bytes | None = None
    created: int = 0


class Ctap2State(TokenFile):
    """The authenticator's file; safe between threads, and between processes that share it.

    Raises from every method: TamperedStateError where a row does not bear this token's MAC.
    """

    def __init__(self, path: Path, store: KeyStore, *, mac_key_id: bytes = MAC_KEY_ID) -> None:
        """Open the file at `path`, making it (mode 0600) where it is missing."""
        super().__init__(path, store, mac_key_id=mac_key_id)
        self._settings: Settings | None = None
        self._residents: dict[bytes, ResidentCredential] | None = None
        self._next = self._ceiling = 0
        self._block = 1
        self._id, self._secret = self._meta()

    def _meta(self) -> tuple[str, bytes]:
        with self.writing() as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'ctap2_meta'").fetchone() is None:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute("INSERT INTO ctap2_meta VALUES (?, ?)", (str(uuid.uuid4()), os.urandom(32)))
            row = db.execute("SELECT id, secret FROM ctap2_meta").fetchone()
        return str(row[0]), bytes(row[1])

    def secret_mac(self, purpose: str, *parts: bytes) -> bytes:
        """Return 32 bytes that only this token's key gives for these parts, until the next reset."""
        content = [purpose, self._id, self.settings.epoch.hex(), *(part.hex() for part in parts)]
        code = self.mac_of(["ctap2", *content])
        return code or hmac.digest(self._secret, msgspec.json.encode(content), "sha256")

    @property
    def settings(self) -> Settings:
        """Return the settings as they are on the disk."""
        if self._settings is None or self._index[COMMITS] != self._index_seen:
            with self._lock:
                self._look()
                if self._settings is None:
                    stored = self._read("settings", Settings)
                    self._settings = stored or self._write("settings", Settings(epoch=os.urandom(16)))
        return self._settings

    def update(self, **changes: object) -> Settings:
        """Change settings and return them, once they are on the disk."""
        return self._change(lambda stored: msgspec.structs.replace(stored, **changes))

    def take_try(self, counter: str) -> Settings:
        """Lower "pin_retries" or "uv_retries" by one, if there is one left, and return the settings."""
        return self._change(
            lambda stored: msgspec.structs.replace(stored, **{counter: max(0, getattr(stored, counter) - 1)})
        )

    def _change(self, change: Callable[[Settings], Settings]) -> Settings:
        """Read, change and write the settings in one transaction: another process may be at it, too."""
        with self._lock:
            with self.writing():
                self._settings = None
                changed = self._write("settings", change(self._read("settings", Settings) or self.settings))
            self._settings = changed
            return changed

    def large_blobs(self) -> bytes:
        """Return the serialized large-blob array."""
        with self._lock:
            return self._read("large blobs", bytes) or EMPTY_LARGE_BLOBS

    def store_large_blobs(self, serialized: bytes) -> None:
        """Replace the serialized large-blob array."""
        with self.writing():
            self._write("large blobs", serialized)

    def next_counter(self) -> int:
        """Return a signature counter that was never returned before; of all credentials together."""
        with self._lock:
            if self._next >= self._ceiling:
                self._reserve()
            self._next += 1
            return self._next

    def _reserve(self) -> None:
        """Take the next block of counters: one at first, twice as many each time this process comes back for more."""
        with self.writing():
            stored = self._read("counter", int) or 0
            self._write("counter", stored + self._block)
        self._next, self._ceiling = stored, stored + self._block
        self._block = min(self._block * 2, _MAX_BLOCK)

    def residents(self) -> dict[bytes, ResidentCredential]:
        """Return the discoverable credentials by their ids, in the order they were made."""
        with self._lock:
            self._look()
            if self._residents is None:
                rows = self._db.execute("SELECT key_id, content, mac FROM ctap2_credential").fetchall()
                found = [self._opened(f"credential {row[0].hex()}", ResidentCredential, row[1], row[2]) for row in rows]
                found.sort(key=lambda one: one.created)
                self._residents = {one.credential_id: one for one in found}
            return self._residents

    def put(self, credential: ResidentCredential, key_id: bytes, *, instead_of: bytes | None = None) -> None:
        """Store a credential, in place of the one with the key id `instead_of`, in one step."""
        with self._lock:
            created = credential.created or max((one.created for one in self.residents().values()), default=0) + 1
            numbered = msgspec.structs.replace(credential, created=created)
            content = msgspec.json.encode(numbered)
            mac = self.mac_of(self._fields(f"credential {key_id.hex()}", content))
            with self.writing() as db:
                db.execute("DELETE FROM ctap2_credential WHERE key_id IN (?, ?)", (instead_of, key_id))
                db.execute("INSERT INTO ctap2_credential VALUES (?, ?, ?)", (key_id, content, mac))
            self._residents = None

    def remove(self, key_id: bytes) -> None:
        """Forget a discoverable credential; no error where there is none."""
        with self._lock:
            self._db.execute("DELETE FROM ctap2_credential WHERE key_id = ?", (key_id,))
            self._residents = None

    def reset(self) -> None:
        """Forget all credentials, the PIN, the settings and the large blobs, in one step; the counter goes on."""
        with self._lock:
            with self.writing() as db:
                db.execute("DELETE FROM ctap2_credential")
                db.execute("DELETE FROM ctap2_row WHERE name <> 'counter'")
                settings = self._write("settings", Settings(epoch=os.urandom(16)))
            self._settings, self._residents = settings, None

    def _look(self) -> None:
        """Forget what is in memory where another connection wrote: it may be old, or tampered with."""
        if self.changed_elsewhere():
            self._settings = self._residents = None

    def _read(self, name: str, kind: type[T]) -> T | None:
        row = self._db.execute("SELECT content, mac FROM ctap2_row WHERE name = ?", (name,)).fetchone()
        return None if row is None else self._opened(name, kind, row[0], row[1])

    def _write(self, name: str, value: T) -> T:
        content = msgspec.json.encode(value)
        self._db.execute(
            "INSERT INTO ctap2_row (name, content, mac) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET content = excluded.content, mac = excluded.mac",
            (name, content, self.mac_of(self._fields(name, content))),
        )
        return value

    def _opened(self, name: str, kind: type[T], content: object, mac: object) -> T:
        if not isinstance(content, bytes):
            raise TamperedStateError("a row of the authenticator's state holds a value of another type")
        self.check_mac(self._fields(name, content), mac)
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.MsgspecError:
            raise TamperedStateError("a row of the authenticator's state holds values of other types") from None

    def _fields(self, name: str, content: bytes) -> list[object]:
        return ["ctap2 row", self._id, name, content.hex()]
