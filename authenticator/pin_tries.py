"""How often a wrong PIN may still be tried at an authenticator whose key store does not count.

A store that is logged in logs in again after a wrong PIN, by which the token's own count starts anew. This one is kept
in the authenticator's file, outlasts every restart, and is taken down before a PIN is looked at.
"""

from typing import Final

from fidoloop.authenticator.state import AuthenticatorState

MAX_TRIES: Final = 8
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS pin_tries (id INTEGER PRIMARY KEY CHECK (id = 1), remaining INTEGER, mac BLOB)"
)


class PinTries:
    """The count of one authenticator's file. Every method raises TamperedStateError for a row that is not ours."""

    def __init__(self, state: AuthenticatorState) -> None:
        """Take the state the count is kept in; a new one has MAX_TRIES."""
        self._state = state
        with state.writing() as database:
            database.execute(_TABLE)

    def remaining(self) -> int:
        """Return how many wrong PINs are left, 0 where the PIN is blocked for good."""
        with self._state.writing() as database:
            row = database.execute("SELECT remaining, mac FROM pin_tries").fetchone()
        if row is None:
            return MAX_TRIES
        self._state.check_mac(self._fields(row[0]), row[1])
        return int(row[0])

    def take(self) -> None:
        """Count a try that is about to be made. One must remain."""
        self._set(self.remaining() - 1)

    def restore(self) -> None:
        """The PIN was right: all tries are there again."""
        self._set(MAX_TRIES)

    def _set(self, remaining: int) -> None:
        with self._state.writing() as database:
            database.execute(
                "INSERT INTO pin_tries (id, remaining, mac) VALUES (1, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET remaining = excluded.remaining, mac = excluded.mac",
                (remaining, self._state.mac_of(self._fields(remaining))),
            )

    def _fields(self, remaining: int) -> list[object]:
        return ["pin_tries", self._state.id, remaining]
