"""Deleting keys: at once, with everything that is open for them (HTTP contract 5)."""

from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.messages import DeregisterAuthenticator
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.server import accounts, audit, sessions
from fidoloop.server.contexts import DeregistrationContext
from fidoloop.server.environment import Environment
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import Credential


async def deregister(
    environment: Environment,
    transaction: Transaction,
    context: DeregistrationContext,
    *,
    session_id: str | None,
    requested_from: str,
) -> tuple[str, tuple[DeregisterAuthenticator, ...]]:
    """Delete the keys that `context` names; return the session, ended, and what the client is to forget.

    Raises:
        UafRefusal: BAD_REQUEST (unknown user), UNKNOWN_KEYID (mode keyid, none of them registered), NOT_FOUND (none
            registered, where there are no wildcards).
    """
    await accounts.require_active(transaction, context.username)
    registered = await accounts.credentials_of(environment, transaction, context.username)
    chosen = [credential for credential in registered if _is_named(context, credential)]
    if not chosen and not context.wildcards:
        code = StatusCode.UNKNOWN_KEYID if context.mode == "keyid" else StatusCode.NOT_FOUND
        raise UafRefusal(code, "the user has no such key")
    now = environment.clock()
    if session_id is None:
        session_id = await sessions.add_bare(
            transaction, op="Dereg", username=context.username, now=now, requested_from=requested_from
        )
    for credential in chosen:
        await remove_key(transaction, credential, now=now, session_id=session_id, requested_from=requested_from)
    taken = tuple(StatusAuthenticator(credential.aaid, credential.key_id) for credential in chosen)
    outcome = sessions.Outcome(status=StatusCode.OK, username=context.username, authenticators=taken)
    await sessions.finish(transaction, session_id, outcome, now=now)
    if context.wildcards:
        (aaid,) = context.aaids if context.mode == "aaid" and context.aaids else ("",)
        return session_id, (DeregisterAuthenticator(aaid.upper(), ""),)
    return session_id, tuple(DeregisterAuthenticator(key.aaid, key.keyId) for key in taken)


async def remove_key(
    transaction: Transaction,
    credential: Credential,
    *,
    now: int,
    session_id: str | None = None,
    requested_from: str | None = None,
) -> None:
    """Delete one key and end the open sessions that ask for it."""
    await transaction.fetch_one(
        queries.DELETE_CREDENTIAL, key_id=credential.key_id, aaid=credential.aaid, username=credential.username
    )
    await sessions.fail_open_sessions(transaction, credential.username, now=now, key_id=credential.key_id)
    await audit.record(
        transaction,
        now=now,
        event="deregistration",
        outcome=StatusCode.OK,
        username=credential.username,
        aaid=credential.aaid,
        key_id=credential.key_id,
        session_id=session_id,
        requested_from=requested_from,
    )


def _is_named(context: DeregistrationContext, credential: Credential) -> bool:
    if context.mode == "aaid":
        return credential.aaid in {aaid.upper() for aaid in context.aaids or ()}
    if context.mode == "keyid":
        return any(
            (named.aaid.upper(), named.keyID) == (credential.aaid, credential.key_id)
            for named in context.authenticators or ()
        )
    return True
