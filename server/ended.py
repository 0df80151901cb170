"""What ends with a restore: all that was open in the backup, since it may have been used after it."""

from typing import NamedTuple

from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server import audit
from fidoloop.server.store import fido2_queries, oauth_queries, queries
from fidoloop.server.store.base import Store
from fidoloop.server.web import operations


class Ended(NamedTuple):
    """How much was open."""

    sessions: int
    """Tokens and requests that waited for their redemption or response, UAF and FIDO2."""
    oauth: int
    """Authorization requests, codes, access and refresh tokens."""
    web: int
    """Browsers' log-ins, and what their pages had begun."""


async def end_open(store: Store, *, now: int) -> Ended:
    """End everything that was open in a restored database, in one transaction; `now` in epoch milliseconds.

    What is good once and was not used before the backup may have been used after it; who was logged in may have logged
    out. Done again it ends nothing. Raises StoreError.
    """
    async with store.transaction() as transaction:
        web = await operations.forget_all(transaction)
        sessions = await transaction.execute(
            queries.FAIL_OPEN, uaf_status=int(StatusCode.REQUEST_TIMEOUT), now=now
        ) + await transaction.execute(fido2_queries.FAIL_OPEN, now=now)
        oauth = sum([await transaction.execute(query) for query in oauth_queries.FORGET_UNUSED])
        await audit.record(
            transaction, now=now, event="restored", outcome=StatusCode.OK, username=None, requested_from="operator"
        )
    return Ended(sessions, oauth, web)
