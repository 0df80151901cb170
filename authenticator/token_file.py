"""What parts of a phone's file have in common that a token vouches for: transactions, MACs of rows, signs of change."""

import hmac
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fidoloop.authenticator.errors import TamperedStateError
from fidoloop.authenticator.phone_file import COMMITS, PhoneFile
from fidoloop.hsm.keystore import KeyStore, MacKey


class TokenFile:
    """A connection to a phone's file whose rows bear MACs by a key of the token, where it has HMAC.

    Safe between threads, and between processes that share the file.
    """

    def __init__(self, path: Path, store: KeyStore, *, mac_key_id: bytes) -> None:
        """Open the file at `path`, making it (mode 0600) where it is missing; the MAC key likewise."""
        self._lock = threading.RLock()
        self._file = PhoneFile(path)
        self._db = self._file.db
        # A counter must be on the disk before a signature with it leaves: FULL, whatever it costs.
        self._db.execute("PRAGMA synchronous=FULL")
        self._index = self._file.index
        self._index_seen: bytes | None = None
        self._data_version = -1
        self._mac_key: MacKey | None = store.mac_key(mac_key_id, "fidoloop state MAC")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back where anything is raised."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    def changed_elsewhere(self) -> bool:
        """Tell whether another connection wrote since this was last asked.

        data_version tells, at the price of a seventh of a signature; it is asked only where the index shows a commit.
        """
        seen = self._index[COMMITS]
        if seen and seen == self._index_seen:
            return False
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        changed = bool(version != self._data_version)
        self._data_version = version
        self._index_seen = seen or None
        return changed

    def mac_of(self, fields: list[object]) -> bytes | None:
        """Return the MAC of a row's fields by the token's key, None where it has no HMAC."""
        return None if self._mac_key is None else self._mac_key.mac(json.dumps(fields).encode("utf-8"))

    def check_mac(self, fields: list[object], found: object) -> None:
        """Hold the MAC a row bears against its fields. Raises TamperedStateError."""
        expected = self.mac_of(fields)
        if expected is None:
            return
        if not isinstance(found, bytes) or not hmac.compare_digest(found, expected):
            raise TamperedStateError("a row of the phone's state was changed from outside, or belongs to another token")
