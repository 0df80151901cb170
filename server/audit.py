"""The audit trail: what happened to whose account, by which key, from where. Kept in the store, beside the change.

A response is in the trail by the session that it ended: writing it twice would cost a log-in a row. When the session is
removed, its entry is written.
"""

import msgspec

from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.server.store import queries
from fidoloop.server.store.base import Store, Transaction
from fidoloop.server.store.rows import AuditEntry, EndedSession


async def record(
    transaction: Transaction,
    *,
    now: int,
    event: str,
    outcome: int,
    username: str | None,
    aaid: str | None = None,
    key_id: str | None = None,
    session_id: str | None = None,
    address: str | None = None,
    requested_from: str | None = None,
    client_id: str | None = None,
) -> None:
    """Add one entry.

    `outcome` is a UAF status code, `address` the one that answered (the phone), `requested_from` the one that asked
    for the operation (the laptop); where it was an operator's command both are absent.
    """
    await transaction.execute(
        queries.ADD_AUDIT,
        now=now,
        event=event,
        outcome=outcome,
        username=username,
        aaid=aaid,
        key_id=key_id,
        session_id=session_id,
        address=address,
        requested_from=requested_from,
        client_id=client_id,
    )


async def record_ended(transaction: Transaction, session: EndedSession) -> None:
    """Add the entry of a session that is about to be gone; none where no response ended it."""
    entry = _entry_of(session)
    if entry is not None:
        fields = msgspec.structs.asdict(entry)
        await record(transaction, now=fields.pop("at"), **fields)


async def entries(store: Store, username: str | None, *, limit: int) -> list[AuditEntry]:
    """Return the newest `limit` entries, of one user or of all, newest first."""
    written = await store.fetch_all(queries.AUDIT, username=username, limit=limit)
    ended = await store.fetch_all(queries.AUDIT_OF_SESSIONS, username=username, limit=limit)
    found = written + [entry for entry in map(_entry_of, ended) if entry is not None]
    return sorted(found, key=lambda entry: entry.at, reverse=True)[:limit]


def _entry_of(session: EndedSession) -> AuditEntry | None:
    if session.event is None or session.outcome is None:
        return None
    keys = msgspec.json.decode(session.authenticators or "[]", type=tuple[StatusAuthenticator, ...])
    return AuditEntry(
        session.at,
        session.event,
        session.outcome,
        session.username,
        keys[0].aaid if keys else None,
        keys[0].keyId if keys else None,
        session.id,
        session.address,
        session.requested_from,
    )
