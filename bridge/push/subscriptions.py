"""Push subscriptions of a phone's accounts: kept in its profile, each bound to one server's VAPID key."""

import os
import secrets
import sqlite3
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.bridge.profile import Account, Profile
from fidoloop.protocol import web_push
from fidoloop.protocol.web_push import Subscription

_SCHEMA = """
CREATE TABLE IF NOT EXISTS push_subscription (
    base_url TEXT NOT NULL, username TEXT NOT NULL, path TEXT NOT NULL, private_key BLOB NOT NULL, auth BLOB NOT NULL,
    server_key BLOB NOT NULL, PRIMARY KEY (base_url, username));
CREATE TABLE IF NOT EXISTS push_seen (digest BLOB PRIMARY KEY, until BIGINT NOT NULL);
"""
_PATH_BYTES = 24
_SCALAR_BYTES = 32


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """One account's subscription: `path` is the secret member of its endpoint, `server_key` its server's VAPID key."""

    account: Account
    path: str
    key: ec.EllipticCurvePrivateKey
    auth: bytes
    server_key: ec.EllipticCurvePublicKey

    def at(self, endpoint: str) -> str:
        """Return the JSON of its PushSubscription at an endpoint: what the dispatch target's address is."""
        return web_push.encode_subscription(Subscription(endpoint, self.key.public_key(), self.auth))


class PushSubscriptions:
    """The subscriptions in a profile, and which messages have come. Times are in seconds since the epoch."""

    def __init__(self, profile: Profile) -> None:
        """Take the profile, which stays open as long."""
        self._profile = profile
        self._db: sqlite3.Connection = profile.database
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)

    def get(self, account: Account) -> PushSubscription | None:
        """Return the account's subscription."""
        row = self._db.execute(
            "SELECT path, private_key, auth, server_key FROM push_subscription WHERE base_url = ? AND username = ?",
            (account.base_url, account.username),
        ).fetchone()
        if row is None:
            return None
        key = ec.derive_private_key(int.from_bytes(row[1]), ec.SECP256R1())
        return PushSubscription(account, row[0], key, row[2], web_push.public_key_of(row[3]))

    def make(self, account: Account, server_key: ec.EllipticCurvePublicKey) -> PushSubscription:
        """Return the account's subscription for a server's key: the one there is, unless that is another's.

        A server that has a new key is pushed from by somebody who may not be the one before.
        """
        kept = self.get(account)
        if kept is not None and kept.server_key == server_key:
            return kept
        key = ec.generate_private_key(ec.SECP256R1())
        made = PushSubscription(
            account, secrets.token_urlsafe(_PATH_BYTES), key, os.urandom(web_push.AUTH_BYTES), server_key
        )
        self._db.execute(
            "INSERT OR REPLACE INTO push_subscription VALUES (?, ?, ?, ?, ?, ?)",
            (
                account.base_url,
                account.username,
                made.path,
                key.private_numbers().private_value.to_bytes(_SCALAR_BYTES),
                made.auth,
                web_push.point_of(server_key),
            ),
        )
        return made

    def remove(self, account: Account) -> None:
        """Forget the account's subscription."""
        self._db.execute(
            "DELETE FROM push_subscription WHERE base_url = ? AND username = ?", (account.base_url, account.username)
        )

    def is_new(self, digest: bytes, *, until: int, now: int) -> bool:
        """Note a message by its digest; False where it has come before. After `until` it would be refused anyway."""
        self._db.execute("DELETE FROM push_seen WHERE until < ?", (now,))
        return bool(self._db.execute("INSERT OR IGNORE INTO push_seen VALUES (?, ?)", (digest, until)).rowcount)
