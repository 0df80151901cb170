"""Facet lists that a phone keeps between operations, as HTTP lets a private cache (RFC 9111).

Only a list that its AppID answered with itself, without a redirect, and that named the phone's facet is kept.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Mapping

import msgspec

MOST_SECONDS = 86_400
"""However long a server allows: a facet that is taken off a list is trusted no longer than this."""
MOST_LISTS = 32
_ETAG = re.compile(r'(W/)?"[!#-~]{0,256}"')
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facet_list (
    app_id TEXT PRIMARY KEY, document BLOB NOT NULL, etag TEXT, kept_at BIGINT NOT NULL, fresh_until BIGINT NOT NULL)
"""


class KeptList(msgspec.Struct, frozen=True):
    """A list as it was answered; times in seconds since the epoch."""

    document: bytes
    etag: str | None
    kept_at: int
    fresh_until: int


class FacetLists:
    """The lists kept in a profile's database, by AppID."""

    def __init__(self, database: sqlite3.Connection, clock: Callable[[], float] = time.time) -> None:
        """Take the database; `clock` gives seconds since the epoch."""
        self._db = database
        self._clock = clock
        database.execute(_SCHEMA)

    def get(self, app_id: str) -> KeptList | None:
        """Return the list of `app_id`, fresh or not."""
        columns = "document, etag, kept_at, fresh_until"
        row = self._db.execute(f"SELECT {columns} FROM facet_list WHERE app_id = ?", (app_id,)).fetchone()  # noqa: S608
        return None if row is None else KeptList(*row)

    def is_fresh(self, kept: KeptList) -> bool:
        """Tell whether a list may be used unasked; never where the clock was set back since."""
        return kept.kept_at <= self._clock() < kept.fresh_until

    def keep(self, app_id: str, document: bytes, headers: Mapping[str, str]) -> None:
        """Keep a list as far as the answer's `headers` (lower case) let; a 304's, too."""
        directives = _directives(headers.get("cache-control", ""))
        if "no-store" in directives or headers.get("vary", "").strip() == "*":
            self.forget(app_id)
            return
        now = int(self._clock())
        etag = headers.get("etag", "")
        # One of another form, or of any length, would not go back as it came.
        known_by = etag if _ETAG.fullmatch(etag) else None
        kept = KeptList(document, known_by, now, now + _fresh_seconds(directives, headers))
        self._db.execute(
            "INSERT OR REPLACE INTO facet_list VALUES (?, ?, ?, ?, ?)", (app_id, *msgspec.structs.astuple(kept))
        )
        self._db.execute(
            "DELETE FROM facet_list WHERE app_id NOT IN"
            " (SELECT app_id FROM facet_list ORDER BY kept_at DESC, app_id LIMIT ?)",
            (MOST_LISTS,),
        )

    def forget(self, app_id: str) -> None:
        """Keep the list of `app_id` no longer."""
        self._db.execute("DELETE FROM facet_list WHERE app_id = ?", (app_id,))


def _directives(cache_control: str) -> dict[str, str]:
    """Return the directives of Cache-Control; one that stands twice keeps its first value, as a stricter one may."""
    found: dict[str, str] = {}
    for part in cache_control.split(","):
        name, _, value = part.strip().partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _fresh_seconds(directives: Mapping[str, str], headers: Mapping[str, str]) -> int:
    """Return for how many seconds more a list is fresh: what max-age says, less the Age it has already."""
    if "no-cache" in directives:
        return 0
    return max(0, min(_seconds(directives.get("max-age", "")), MOST_SECONDS) - _seconds(headers.get("age", "")))


def _seconds(text: str) -> int:
    """Return delta-seconds (RFC 9111, 1.2.2); 0 for what is none."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
