"""The authenticator's part of the phone's file: registrations, counters, the ASM's secret (design, principle 6).

Counters are reserved in durable blocks: the stored ceiling is at least any value that was ever signed, so that a
crash skips ahead and never back. Rows bear a MAC by a key of the token where it has HMAC.
"""

import os
import uuid
from pathlib import Path

import msgspec

from fidoloop.authenticator.errors import TamperedStateError
from fidoloop.authenticator.phone_file import COMMITS
from fidoloop.authenticator.token_file import TokenFile
from fidoloop.hsm.keystore import KeyStore

MAC_KEY_ID = b"fidoloop:state-mac"
_MAX_BLOCK = 1024
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE authenticator_meta (id TEXT PRIMARY KEY, asm_token BLOB NOT NULL, schema_version INTEGER NOT NULL);
CREATE TABLE registration (
    key_id BLOB PRIMARY KEY, aaid TEXT NOT NULL, app_id TEXT NOT NULL, username TEXT NOT NULL,
    access_token BLOB NOT NULL, registered INTEGER NOT NULL, sign_ceiling INTEGER NOT NULL, mac BLOB);
CREATE TABLE registration_counter (aaid TEXT PRIMARY KEY, value INTEGER NOT NULL, mac BLOB);
"""


class Registration(msgspec.Struct, frozen=True):
    """One key: whose it is and for which application. `registered` orders them (1, 2, …)."""

    key_id: bytes
    aaid: str
    app_id: str
    username: str
    access_token: bytes
    registered: int
    sign_ceiling: int


class _Block:
    """Counter values reserved for one key and not yet signed: `next` to `ceiling`."""

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self.next = registration.sign_ceiling + 1
        self.ceiling = registration.sign_ceiling
        self.size = 1


class AuthenticatorState(TokenFile):
    """Registrations and counters in one SQLite file; safe between threads, and between processes that share it.

    Raises from every method: TamperedStateError where a row does not bear this token's MAC.
    """

    def __init__(self, path: Path, store: KeyStore, *, mac_key_id: bytes = MAC_KEY_ID) -> None:
        """Open the file at `path`, making it (mode 0600) where it is missing.

        `mac_key_id` is the CKA_ID of the token's key for the rows' MACs; it is made where it is missing.
        """
        super().__init__(path, store, mac_key_id=mac_key_id)
        self._blocks: dict[bytes, _Block] = {}
        self.id, self.asm_token = self._meta()

    def _meta(self) -> tuple[str, bytes]:
        with self.writing():
            exists = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'authenticator_meta'").fetchone()
            if exists is None:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(
                    "INSERT INTO authenticator_meta (id, asm_token, schema_version) VALUES (?, ?, ?)",
                    (str(uuid.uuid4()), os.urandom(32), _SCHEMA_VERSION),
                )
            row = self._db.execute("SELECT id, asm_token FROM authenticator_meta").fetchone()
        return str(row[0]), bytes(row[1])

    def add(self, registration: Registration) -> None:
        """Store a new registration; its `registered` is set here."""
        with self.writing():
            (last,) = self._db.execute("SELECT COALESCE(MAX(registered), 0) FROM registration").fetchone()
            numbered = msgspec.structs.replace(registration, registered=last + 1)
            self._db.execute(
                "INSERT INTO registration (key_id, aaid, app_id, username, access_token, registered,"
                " sign_ceiling, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*msgspec.structs.astuple(numbered), self._mac(numbered)),
            )

    def registrations(self) -> list[Registration]:
        """Return all registrations in the order they were made."""
        with self._lock:
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM registration ORDER BY registered").fetchall()  # noqa: S608
            return [self._verified(row) for row in rows]

    def registration(self, key_id: bytes) -> Registration | None:
        """Return the registration of `key_id`, from memory once it was read.

        It may be old by then; `next_sign_counter`, without which nothing is signed, looks again.
        """
        block = self._blocks.get(key_id)
        if block is None:
            with self._lock:
                self._forget_if_changed()
                block = self._block(key_id)
        return block.registration if block is not None else None

    def remove(self, key_id: bytes) -> None:
        """Forget a registration; no error where there is none."""
        with self._lock:
            self._db.execute("DELETE FROM registration WHERE key_id = ?", (key_id,))
            self._blocks.pop(key_id, None)

    def next_sign_counter(self, key_id: bytes) -> int | None:
        """Return a counter value that was never returned before, or None where the registration is gone."""
        with self._lock:
            if self._index[COMMITS] != self._index_seen:
                self._forget_if_changed()
            block = self._blocks.get(key_id) or self._block(key_id)
            if block is None:
                return None
            if block.next > block.ceiling and not self._reserve(block):
                return None
            value = block.next
            block.next = value + 1
            return value

    def next_registration_counter(self, aaid: str) -> int:
        """Return the model's registration counter, raised by one and stored."""
        with self.writing():
            row = self._db.execute("SELECT value, mac FROM registration_counter WHERE aaid = ?", (aaid,)).fetchone()
            if row is not None:
                self.check_mac(["registration_counter", self.id, aaid, row[0]], row[1])
            value = (row[0] if row else 0) + 1
            self._db.execute(
                "INSERT INTO registration_counter (aaid, value, mac) VALUES (?, ?, ?)"
                " ON CONFLICT (aaid) DO UPDATE SET value = excluded.value, mac = excluded.mac",
                (aaid, value, self.mac_of(["registration_counter", self.id, aaid, value])),
            )
            return value

    def _block(self, key_id: bytes) -> _Block | None:
        block = self._blocks.get(key_id)
        if block is None:
            row = self._db.execute(f"SELECT {_COLUMNS} FROM registration WHERE key_id = ?", (key_id,)).fetchone()  # noqa: S608
            if row is None:
                return None
            block = self._blocks[key_id] = _Block(self._verified(row))
        return block

    def _forget_if_changed(self) -> None:
        """Forget what is in memory where another connection wrote: it may be old, or tampered with."""
        if self.changed_elsewhere():
            self._blocks.clear()

    def _reserve(self, block: _Block) -> bool:
        """Take the next block of counters: one at first, twice as many each time a process comes back for more."""
        key_id = block.registration.key_id
        with self.writing():
            row = self._db.execute(f"SELECT {_COLUMNS} FROM registration WHERE key_id = ?", (key_id,)).fetchone()  # noqa: S608
            if row is None:
                return False
            stored = self._verified(row)
            ceiling = stored.sign_ceiling + block.size
            raised = msgspec.structs.replace(stored, sign_ceiling=ceiling)
            self._db.execute(
                "UPDATE registration SET sign_ceiling = ?, mac = ? WHERE key_id = ?",
                (ceiling, self._mac(raised), key_id),
            )
        block.registration = raised
        block.next, block.ceiling = stored.sign_ceiling + 1, ceiling
        block.size = min(block.size * 2, _MAX_BLOCK)
        return True

    def _verified(self, row: tuple[object, ...]) -> Registration:
        try:
            found = Registration(*msgspec.convert(row[:-1], tuple[bytes, str, str, str, bytes, int, int]))
        except msgspec.ValidationError:
            raise TamperedStateError("a row of the phone's state holds values of other types") from None
        self.check_mac(self._fields(found), row[-1])
        return found

    def _fields(self, registration: Registration) -> list[object]:
        fields = msgspec.structs.astuple(registration)
        return ["registration", self.id, *(f.hex() if isinstance(f, bytes) else f for f in fields)]

    def _mac(self, registration: Registration) -> bytes | None:
        return self.mac_of(self._fields(registration))


_COLUMNS = "key_id, aaid, app_id, username, access_token, registered, sign_ceiling, mac"
