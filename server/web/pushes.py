"""Pushes that a page asks for: to a user's default device, the same answer whoever is named (HTTP contract 11)."""

import logging
from typing import NamedTuple

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.channel_linking import USUAL_DIGITS, ChannelLinkingDemand
from fidoloop.protocol.outofband import DispatchRequest
from fidoloop.protocol.uaf.messages import GetUafRequest
from fidoloop.server import accounts, sessions
from fidoloop.server.channel_linking import make_linking
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request
from fidoloop.server.http.server_timing import ServerTiming
from fidoloop.server.services.dispatch_token import DispatchResult, dispatch
from fidoloop.server.store import queries, web_queries
from fidoloop.server.store.rows import Target, TokenSession
from fidoloop.server.web import operations

PUSH_WINDOW_MILLIS = 10 * 60 * 1000
_DEMAND = ChannelLinkingDemand("number", USUAL_DIGITS)
_log = logging.getLogger("fidoloop.server.web")


class Asked(NamedTuple):
    """A push on its way: the operation's id, and the number to show, which the user types on the phone."""

    operation_id: str
    number: str


async def push(environment: Environment, request: Request, username: str, browser_hash: str) -> Asked:
    """Begin a log-in of `username` by push.

    Everything that depends on who is named happens after the answer. A user who does not exist, is disabled or has no
    device that can be reached gets a session too; it runs out of time, as one does that nobody answers.

    Raises:
        HttpProblem: 429, one push is open or there were five in ten minutes, whoever is named.
    """
    now = environment.clock()
    context = strictjson.encode({"username": username})
    lifetime = environment.config.lifetimes.token_millis("Auth")
    linking = make_linking(_DEMAND)
    new = sessions.NewToken(op="Auth", username=username, context=context, lifetime=lifetime, linking=linking)
    async with environment.store.transaction() as transaction:
        session = await sessions.add_token(transaction, new, now=now, requested_from=request.address)
        taken = await transaction.fetch_one(
            web_queries.TAKE_PUSH, username=username, session_id=session.id, now=now, since=now - PUSH_WINDOW_MILLIS
        )
        if taken is None:
            raise HttpProblem(429, "this user was asked already, or too often; wait a little, or scan the code")
        operation_id = await operations.begin(transaction, "login", session.id, browser_hash, username, now=now)
    environment.later(_send(environment, request, username, session))
    return Asked(operation_id, linking.content)


async def _send(environment: Environment, request: Request, username: str, session: TokenSession) -> None:
    target = await default_target(environment, username)
    if target is None:
        return
    wanted = DispatchRequest(
        GetUafRequest("Auth", session.context),
        dispatchTargetId=target.id,
        dispatchInformation={"channelLinking": msgspec.to_builtins(_DEMAND)},
        sessionId=session.id,
    )
    answer = await dispatch(environment, request, wanted, ServerTiming())
    if answer.dispatchResult != DispatchResult.DISPATCHED:
        _log.warning("a push from the log-in page failed: %s", answer.dispatchResult)


async def default_target(environment: Environment, username: str) -> Target | None:
    """Return the device of an active user that a push reaches: of several, the one used last."""
    async with environment.store.transaction() as transaction:
        if not await accounts.is_active(transaction, username):
            return None
        found = await transaction.fetch_all(queries.TARGETS_OF, username=username)
    return max((target for target in found if _is_pushed_to(environment, target)), key=_last_use, default=None)


def _is_pushed_to(environment: Environment, target: Target) -> bool:
    dispatcher = environment.dispatchers.get(target.dispatcher or "")
    reached = dispatcher is not None and dispatcher.needs_address
    return reached and target.target is not None and target.expired_at is None


def _last_use(target: Target) -> int:
    return target.last_used_at
