"""What the app keeps of each authorization server: who it is there, its keys' ids, its attestation and its tokens.

In the phone's file, which its owner alone can read. Tokens are worth nothing without the keys, which are in the token.
"""

import sqlite3

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS oauth_app (
    base_url TEXT PRIMARY KEY, client_id TEXT NOT NULL, registration_token TEXT NOT NULL,
    instance_key_id BLOB NOT NULL, dpop_key_id BLOB NOT NULL, attestation TEXT NOT NULL, tokens TEXT)
"""


class Tokens(msgspec.Struct, frozen=True):
    """What the last token response brought; `expires_at` in epoch seconds, `auth_session` for a step-up."""

    access_token: str
    refresh_token: str
    scope: str
    acr: str
    username: str
    expires_at: int
    id_token: str | None = None
    id_token_expires_at: int = 0
    auth_session: str | None = None


class App(msgspec.Struct, frozen=True):
    """The app at one server."""

    base_url: str
    client_id: str
    registration_token: str
    instance_key_id: bytes
    dpop_key_id: bytes
    attestation: str
    tokens: Tokens | None = None


class AppState:
    """The apps of a phone."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Use the phone's file."""
        self._db = db
        db.execute(_SCHEMA)

    def load(self, base_url: str) -> App | None:
        """Return the app at a server, or None."""
        row = self._db.execute(
            "SELECT base_url, client_id, registration_token, instance_key_id, dpop_key_id, attestation, tokens"
            " FROM oauth_app WHERE base_url = ?",
            (base_url,),
        ).fetchone()
        if row is None:
            return None
        names = App.__struct_fields__[:6]
        tokens = None if row[6] is None else msgspec.json.decode(row[6], type=Tokens)
        return App(**dict(zip(names, row[:6], strict=True)), tokens=tokens)

    def servers(self) -> list[str]:
        """Return the base URLs of the servers that the phone's app is registered at."""
        return [row[0] for row in self._db.execute("SELECT base_url FROM oauth_app ORDER BY base_url")]

    def save(self, app: App) -> None:
        """Keep an app, in place of what was known of it."""
        tokens = None if app.tokens is None else msgspec.json.encode(app.tokens).decode("utf-8")
        self._db.execute(
            "INSERT INTO oauth_app VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (base_url) DO UPDATE SET"
            " client_id = excluded.client_id, registration_token = excluded.registration_token,"
            " instance_key_id = excluded.instance_key_id, dpop_key_id = excluded.dpop_key_id,"
            " attestation = excluded.attestation, tokens = excluded.tokens",
            (*msgspec.structs.astuple(app)[:6], tokens),
        )

    def forget(self, base_url: str) -> None:
        """Forget the app at a server."""
        self._db.execute("DELETE FROM oauth_app WHERE base_url = ?", (base_url,))
