"""The phone's profile: which key store, which accounts at which servers.

Design, principle 6: one SQLite file per profile.
"""

import shutil
import uuid
from pathlib import Path

import msgspec

from fidoloop.authenticator.phone_file import PhoneFile
from fidoloop.bridge.errors import BridgeError
from fidoloop.bridge.facet_lists import FacetLists
from fidoloop.protocol.lab import LAB_FACET_ID

_SCHEMA = """
CREATE TABLE IF NOT EXISTS phone (
    device_id TEXT PRIMARY KEY, keys_uri TEXT NOT NULL, verification TEXT NOT NULL, facet_id TEXT NOT NULL, ca TEXT);
CREATE TABLE IF NOT EXISTS account (
    base_url TEXT NOT NULL, username TEXT NOT NULL, app_id TEXT NOT NULL, target_id TEXT, target_name TEXT,
    signature_key_id BLOB, encryption_key_id BLOB, encryption_thumbprint TEXT, PRIMARY KEY (base_url, username));
"""


class Settings(msgspec.Struct, frozen=True):
    """What a phone is: `keys_uri` without a PIN, `verification` one of pin, prompt, auto, `ca` a PEM path or None."""

    device_id: str
    keys_uri: str
    verification: str
    facet_id: str
    ca: str | None


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
        self.facet_lists = FacetLists(self._db)

    @property
    def operations(self) -> Path:
        """The directory of the operations under way."""
        return self.path.with_suffix(".operations")

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

    def create(self, *, keys_uri: str, verification: str, ca: str | None, facet_id: str = LAB_FACET_ID) -> Settings:
        """Set up a new phone and return its settings."""
        settings = Settings(str(uuid.uuid4()), keys_uri, verification, facet_id, ca)
        self._db.execute(
            "INSERT INTO phone (device_id, keys_uri, verification, facet_id, ca) VALUES (?, ?, ?, ?, ?)",
            msgspec.structs.astuple(settings),
        )
        return settings

    def exists(self) -> bool:
        """Tell whether the phone was set up."""
        return self._db.execute("SELECT 1 FROM phone").fetchone() is not None

    def settings(self) -> Settings:
        """Return the phone's settings. Raises ProfileMissingError where it was never set up."""
        row = self._db.execute("SELECT device_id, keys_uri, verification, facet_id, ca FROM phone").fetchone()
        if row is None:
            raise ProfileMissingError(f"no phone is set up in {self.path}: register first, with --keys")
        return Settings(*row)

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


_ACCOUNT = (
    "base_url, username, app_id, target_id, target_name, signature_key_id, encryption_key_id, encryption_thumbprint"
)
