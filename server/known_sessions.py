"""Steps of a session in one statement each, which says what this process knew beforehand."""

from collections.abc import Sequence

from fidoloop.server.channel_linking import TRIES
from fidoloop.server.remembered import Remembered
from fidoloop.server.sessions import Issued, NewRequest, encode_contents, new_issued
from fidoloop.server.store import queries
from fidoloop.server.store.base import Change, Store, Value
from fidoloop.server.store.rows import Credential, IssuedRequest, TokenSession


async def issue_usernameless(
    store: Store, remembered: Remembered, policy: str, *, now: int, lifetime: int, requested_from: str
) -> Issued:
    """Store an authentication request for whoever answers, in a session of its own, and remember it."""
    issued = new_issued(None, now)
    session_id, challenge, server_data = issued.session_id, issued.challenge, issued.server_data
    parameters: dict[str, Value] = {
        "id": session_id,
        "now": now,
        "requested_from": requested_from,
        "server_data": server_data,
        "challenge": challenge,
        "policy": policy,
        "request_expires_at": now + lifetime,
    }
    await store.apply((Change(queries.ADD_USERNAMELESS_REQUEST, parameters),))
    remembered.request_issued(server_data, IssuedRequest(session_id, None, challenge, policy, None, requested_from))
    return issued


def shown(
    session: TokenSession, dispatcher: str, response: str, *, now: int, requested_from: str, credential_id: str | None
) -> Change:
    """Return the change that stores a token which a dispatcher has answered with.

    It changes nothing unless the user is active and the API credential `credential_id`, if there is one, is live.
    """
    return Change(
        queries.ADD_SHOWN_TOKEN,
        {
            "id": session.id,
            "op": session.op,
            "username": session.username,
            "now": now,
            "requested_from": requested_from,
            "token": session.token,
            "context": session.context,
            "token_expires_at": session.token_expires_at,
            "dispatcher": dispatcher,
            "response": response,
            "channel_linking": session.linking,
            "linking_tries_left": TRIES if session.linking else None,
            "api_key": credential_id,
        },
    )


async def redeem_and_ask(
    store: Store,
    session: TokenSession,
    request: NewRequest,
    known_keys: Sequence[Credential],
    *,
    app_id: str,
    now: int,
    lifetime: int,
) -> Issued | None:
    """Redeem the token of an authentication and store its request, in one statement; of any number of callers one does.

    None where that changes nothing: the token is not as `session` has it or, where there are `known_keys`, the user is
    not active or these are not all his keys.
    """
    issued = new_issued(session.id, now)
    parameters: dict[str, Value] = {
        "id": session.id,
        "token": session.token,
        "username": request.username,
        "server_data": issued.server_data,
        "challenge": issued.challenge,
        "policy": request.policy,
        "transactions": encode_contents(request.transactions),
        "request_expires_at": now + lifetime,
        "now": now,
        "app_id": app_id,
        "keys": "".join(f" {key.aaid} {key.key_id} {key.created_at} " for key in known_keys) or None,
        "key_count": len(known_keys),
    }
    return issued if await store.apply((Change(queries.REDEEM_AND_ASK, parameters),)) else None


def remember(
    remembered: Remembered, issued: Issued, request: NewRequest, *, requested_from: str, linking: str | None
) -> None:
    """Remember an authentication request, whose response will come to this process as likely as to another."""
    remembered.request_issued(
        issued.server_data,
        IssuedRequest(
            issued.session_id,
            request.username,
            issued.challenge,
            request.policy,
            encode_contents(request.transactions),
            requested_from,
            linking,
        ),
    )
