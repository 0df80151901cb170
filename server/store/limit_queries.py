"""The SQL statements of the rate limits; see `queries`."""

from typing import Final

from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import Nothing, Spent

# A bucket is when it is full again, in microseconds. One that is further off than a bucket can be is of a wrong clock.
_BEGINS = (
    "CASE WHEN rate_limit.full_at < CAST(:now AS BIGINT) OR rate_limit.full_at > CAST(:wrong AS BIGINT)"
    " THEN CAST(:now AS BIGINT) ELSE rate_limit.full_at END"
)


def _whichever_fits(several: str, one: str) -> str:
    return (
        f"CASE WHEN {_BEGINS} + CAST(:lease AS BIGINT) <= CAST(:most AS BIGINT) THEN {several}"
        f" WHEN {_BEGINS} + CAST(:one AS BIGINT) <= CAST(:most AS BIGINT) THEN {one} ELSE CAST(0 AS BIGINT) END"
    )


_LEASED = _whichever_fits("CAST(:lease AS BIGINT)", "CAST(:one AS BIGINT)")
_GRANTED = _whichever_fits("CAST(:leased AS BIGINT)", "CAST(1 AS BIGINT)")
# Takes a lease of several, one where no more are left, or none, and says which.
SPEND: Final = Query(
    "INSERT INTO rate_limit (name, full_at, granted) VALUES (:name, :first, :leased)"  # noqa: S608 - of constants
    " ON CONFLICT (name) DO UPDATE"
    f" SET full_at = {_BEGINS} + {_LEASED}, granted = {_GRANTED} RETURNING full_at, granted",
    Spent,
)
FORGET: Final = Query("DELETE FROM rate_limit WHERE name = :name", Nothing)
PURGE: Final = Query("DELETE FROM rate_limit WHERE full_at <= :now", Nothing, patient=True)
