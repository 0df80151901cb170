"""Pushes that a page asks for: to a device of a browser's own user, or to the default device of whoever is named.

In the latter case the answer is the same whoever that is (HTTP contract 11).
"""

import logging
from typing import Any, Final

import msgspec
from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.channel_linking import USUAL_DIGITS, ChannelLinkingDemand
from fidoloop.protocol.outofband import DispatchRequest
from fidoloop.protocol.uaf.messages import GetUafRequest
from fidoloop.server import sessions
from fidoloop.server.channel_linking import make_linking
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request
from fidoloop.server.http.server_timing import ServerTiming
from fidoloop.server.rate_limits import TooManyError
from fidoloop.server.services.dispatch_token import DispatchResult, dispatch
from fidoloop.server.store import web_queries
from fidoloop.server.store.rows import Target
from fidoloop.server.web import operations
from fidoloop.server.web.devices import default_device
from fidoloop.server.web.operations import Purpose

PUSH_WINDOW_MILLIS: Final = 10 * 60 * 1000
_DEMAND = ChannelLinkingDemand("number", USUAL_DIGITS)
INFORMATION: Final[dict[str, Any]] = {"channelLinking": msgspec.to_builtins(_DEMAND)}
"""Every push asks for the number that the page shows: whoever is asked unexpectedly has none to type."""
TOO_OFTEN: Final = "this user was asked already, or too often; wait a little, or scan the code"
_log = logging.getLogger("fidoloop.server.web")


class Asked(msgspec.Struct, frozen=True):
    """A push on its way: its operation and session, what it asks for, and the number to show."""

    operation_id: str
    session_id: str
    wanted: GetUafRequest
    number: str


async def open_push(
    environment: Environment,
    request: Request,
    username: str,
    browser_hash: str,
    *,
    purpose: Purpose = "login",
    context: str | None = None,
) -> Asked:
    """Begin an authentication of `username` by push, a log-in unless `context` asks for more; nothing is out yet.

    Raises:
        HttpProblem: 429, one push is open or there were five in ten minutes, whoever is named.
    """
    now = environment.clock()
    context = context or strictjson.encode({"username": username})
    lifetime = environment.config.lifetimes.token_millis("Auth")
    linking = make_linking(_DEMAND)
    new = sessions.NewToken(op="Auth", username=username, context=context, lifetime=lifetime, linking=linking)
    async with environment.store.transaction() as transaction:
        await transaction.execute(web_queries.LOCK_PUSHES, username=username)
        session = await sessions.add_token(transaction, new, now=now, requested_from=request.address)
        taken = await transaction.fetch_one(
            web_queries.TAKE_PUSH, username=username, session_id=session.id, now=now, since=now - PUSH_WINDOW_MILLIS
        )
        if taken is None:
            raise HttpProblem(429, TOO_OFTEN, ((b"retry-after", b"60"),))
        operation_id = await operations.begin(transaction, purpose, session.id, browser_hash, username, now=now)
    return Asked(operation_id, session.id, GetUafRequest("Auth", context), linking.content)


async def push_to(environment: Environment, request: Request, asked: Asked, target: Target) -> bool:
    """Push to a device; tell whether its push service took it."""
    wanted = DispatchRequest(
        asked.wanted, dispatchTargetId=target.id, dispatchInformation=INFORMATION, sessionId=asked.session_id or UNSET
    )
    try:
        answer = await dispatch(environment, request, wanted, ServerTiming())
    except TooManyError as error:
        _log.warning("a push from a page was not sent: %s", error)
        return False
    if answer.dispatchResult != DispatchResult.DISPATCHED:
        _log.warning("a push from a page failed: %s", answer.dispatchResult)
    return answer.dispatchResult == DispatchResult.DISPATCHED


async def push_to_default(environment: Environment, request: Request, asked: Asked, username: str) -> None:
    """Push to a user's default device: work for after the answer, since it shows who is named.

    A user who does not exist, is disabled or has no device that can be reached gets nothing; his log-in runs out of
    time, as one does that nobody answers.
    """
    target = await default_device(environment, username)
    if target is not None:
        await push_to(environment, request, asked, target)
