"""The phone's profile: which key store, which accounts at which servers.

Design, principle 6: one SQLite file per profile.
"""

import shutil
import sqlite3
import uuid
from collections.abc import Iterable
from pathlib import Path

import msgspec

from fidoloop.authenticator.models import Form
from fidoloop.authenticator.phone_file import PhoneFile
from fidoloop.bridge.errors import BridgeError
from fidoloop.bridge.facet_lists import FacetLists
from fidoloop.protocol import base64url
from fidoloop.protocol.lab import LAB_FACET_ID

_SCHEMA = """
CREATE TABLE IF NOT EXISTS phone (
    device_id TEXT PRIMARY KEY, keys_uri TEXT NOT NULL, verification TEXT NOT NULL, facet_id TEXT NOT NULL, ca TEXT,
    form TEXT NOT NULL DEFAULT 'first-factor', uaf_card TEXT);
CREATE TABLE IF NOT EXISTS account (
    base_url TEXT NOT NULL, username TEXT NOT NULL, app_id TEXT NOT NULL, target_id TEXT, target_name TEXT,
    signature_key_id BLOB, encryption_key_id BLOB, encryption_thumbprint TEXT, PRIMARY KEY (base_url, username));
CREATE TABLE IF NOT EXISTS account_key (
    base_url TEXT NOT NULL, username TEXT NOT NULL, aaid TEXT NOT NULL, key_id BLOB NOT NULL,
    PRIMARY KEY (base_url, username, aaid, key_id));
"""


class Settings(msgspec.Struct, frozen=True):
    """What a phone is: `keys_uri` without a PIN, `verification` one of pin, prompt, auto, `ca` a PEM path or None.

    `form` is that of its models; `uaf_card` names the reader whose UAF card is an authenticator of the phone too.
    """

    device_id: str
    keys_uri: str
    verification: str
    facet_id: str
    ca: str | None
    form: Form = Form.FIRST_FACTOR
    uaf_card: str | None = None


class Account(msgspec.Struct, frozen=True):
    """One user at one server, and the dispatch target this phone is for them."""

    base_url: str
    username: str
    app_id: str
    target_id: str | None = None
    target_name: str | None = None
    signature_key_id: bytes | None = None
    encryption_key_id: bytes | None = None
    encryption_thumbprint: str | None = None


class ProfileMissingError(BridgeError):
    """There is no phone of this name yet."""

    code = "no_profile"


class Profile:
    """One phone's profile file, made with mode 0600; it shares the file with the authenticator's state."""

    def __init__(self, path: Path) -> None:
        """Open the profile at `path`, making the file where it is missing."""
        self.path = path
        self._file = PhoneFile(path)
        self._db = self._file.db
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        self._add_later_columns()
        self.facet_lists = FacetLists(self._db)

    @property
    def operations(self) -> Path:
        """The directory of the operations under way."""
        return self.path.with_suffix(".operations")

    @property
    def database(self) -> sqlite3.Connection:
        """The file, for what else a phone keeps in it."""
        return self._db

    def _add_later_columns(self) -> None:
        """Give a file of before there were such settings its columns."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            there = {row[1] for row in self._db.execute("PRAGMA table_info(phone)")}
            for column, kind in _LATER_COLUMNS.items():
                if column not in there:
                    self._db.execute(f"ALTER TABLE phone ADD COLUMN {column} {kind}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def discard(self) -> None:
        """Close the file and delete it: the phone never came to be. No other connection may be open on it.

        Where it has adopted keys already, only the phone is taken out of it.
        """
        tables = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'adopted_key'").fetchone()
        kept = tables is not None and self._db.execute("SELECT 1 FROM adopted_key").fetchone() is not None
        if kept:
            self._db.execute("DELETE FROM phone")
        self.close()
        shutil.rmtree(self.operations, ignore_errors=True)
        if not kept:
            self.path.unlink(missing_ok=True)

    def create(
        self,
        *,
        keys_uri: str,
        verification: str,
        ca: str | None,
        facet_id: str = LAB_FACET_ID,
        form: Form = Form.FIRST_FACTOR,
        uaf_card: str | None = None,
    ) -> Settings:
        """Set up a new phone and return its settings."""
        settings = Settings(str(uuid.uuid4()), keys_uri, verification, facet_id, ca, form, uaf_card)
        self._db.execute(
            f"INSERT INTO phone ({_SETTINGS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (*msgspec.structs.astuple(settings)[:5], form.value, uaf_card),
        )
        return settings

    def exists(self) -> bool:
        """Tell whether the phone was set up."""
        return self._db.execute("SELECT 1 FROM phone").fetchone() is not None

    def settings(self) -> Settings:
        """Return the phone's settings. Raises ProfileMissingError where it was never set up."""
        row = self._db.execute(f"SELECT {_SETTINGS} FROM phone").fetchone()  # noqa: S608
        if row is None:
            raise ProfileMissingError(f"no phone is set up in {self.path}: register first, with --keys")
        device_id, keys_uri, verification, facet_id, ca, form, uaf_card = row
        return Settings(device_id, keys_uri, verification, facet_id, ca, Form(form), uaf_card)

    def accounts(self) -> list[Account]:
        """Return every account."""
        rows = self._db.execute(f"SELECT {_ACCOUNT} FROM account ORDER BY base_url, username").fetchall()  # noqa: S608
        return [Account(*row) for row in rows]

    def account(self, base_url: str, username: str) -> Account | None:
        """Return the account of a user at a server."""
        return next((a for a in self.accounts() if (a.base_url, a.username) == (base_url, username)), None)

    def save_account(self, account: Account) -> None:
        """Store an account, in place of the same user's at the same server."""
        self._db.execute(
            f"INSERT OR REPLACE INTO account ({_ACCOUNT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            msgspec.structs.astuple(account),
        )

    def remove_account(self, account: Account) -> None:
        """Forget an account."""
        self._db.execute(
            "DELETE FROM account WHERE base_url = ? AND username = ?", (account.base_url, account.username)
        )
        self._db.execute(
            "DELETE FROM account_key WHERE base_url = ? AND username = ?", (account.base_url, account.username)
        )

    def save_keys(self, base_url: str, username: str, keys: Iterable[tuple[str, str]]) -> None:
        """Remember whose keys (AAID and KeyID in base64url) these are, which not every authenticator knows."""
        self._db.executemany(
            "INSERT OR IGNORE INTO account_key (base_url, username, aaid, key_id) VALUES (?, ?, ?, ?)",
            [(base_url, username, aaid, base64url.decode(key_id)) for aaid, key_id in keys],
        )

    def forget_keys(self, keys: Iterable[tuple[str, str]]) -> None:
        """Forget keys (AAID and KeyID in base64url) that were deleted."""
        self._db.executemany(
            "DELETE FROM account_key WHERE aaid = ? AND key_id = ?",
            [(aaid, base64url.decode(key_id)) for aaid, key_id in keys],
        )

    def keys_of(self, account: Account) -> set[tuple[str, bytes]]:
        """Return AAID and KeyID of the keys that were registered for an account."""
        rows = self._db.execute(
            "SELECT aaid, key_id FROM account_key WHERE base_url = ? AND username = ?",
            (account.base_url, account.username),
        ).fetchall()
        return {(aaid, key_id) for aaid, key_id in rows}


_SETTINGS = "device_id, keys_uri, verification, facet_id, ca, form, uaf_card"
_LATER_COLUMNS = {"form": "TEXT NOT NULL DEFAULT 'first-factor'", "uaf_card": "TEXT"}
_ACCOUNT = (
    "base_url, username, app_id, target_id, target_name, signature_key_id, encryption_key_id, encryption_thumbprint"
)
