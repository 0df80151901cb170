"""The audit trail: what happened to whose account, by which key, from where. Kept in the store, beside the change."""

from fidoloop.server.store import queries
from fidoloop.server.store.base import Change, Transaction


def entry(
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
) -> Change:
    """Return the change that adds one entry.

    `outcome` is a UAF status code, `address` the one that answered (the phone), `requested_from` the one that asked
    for the operation (the laptop); where it was an operator's command both are absent.
    """
    return Change(
        queries.ADD_AUDIT,
        {
            "now": now,
            "event": event,
            "outcome": outcome,
            "username": username,
            "aaid": aaid,
            "key_id": key_id,
            "session_id": session_id,
            "address": address,
            "requested_from": requested_from,
        },
    )


async def record(transaction: Transaction, added: Change) -> None:
    """Add the entry `added`."""
    await transaction.execute(added.query, **added.parameters)
