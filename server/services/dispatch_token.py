"""Dispatch Token Service (HTTP contract 7): HTTP 200 even where dispatching failed; `dispatchResult` says how.

Where a token went out, Server-Timing says how long making and storing it (`token`), building the payload (`encrypt`)
and the dispatcher (`dispatch`) took.
"""

from enum import StrEnum
from typing import Any

from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import parse_public_jwk
from fidoloop.protocol.outofband import DispatcherInformation, DispatchRequest, DispatchResponse
from fidoloop.protocol.uaf.messages import Operation
from fidoloop.server import accounts, known_sessions, sessions
from fidoloop.server.channel_linking import demand_in, demand_of, make_linking, read_linking
from fidoloop.server.contexts import DeregistrationContext, parse_request_context
from fidoloop.server.dispatchers.base import AddressGoneError, Dispatcher, DispatchError, Outgoing
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Handler, check_credential
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.http.server_timing import ServerTiming
from fidoloop.server.payloads import make_payload
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import Target, TokenSession
from fidoloop.server.targets import expire_target
from fidoloop.server.uaf_requests import check_request


class DispatchResult(StrEnum):
    """How a dispatch went."""

    DISPATCHED = "dispatched"
    ERROR = "dispatchError"
    TARGET_EXPIRED = "dispatchTargetExpired"
    TARGET_NOT_FOUND = "dispatchTargetNotFound"
    DISPATCHER_NOT_FOUND = "dispatcherNotFound"
    USER_NOT_FOUND = "userNotFound"
    INTERNAL_ERROR = "internalError"


class _Failed(Exception):
    def __init__(self, result: DispatchResult) -> None:
        self.result = result


def dispatch_service(op: Operation) -> Handler:
    """Return the service that dispatches tokens for `op`."""

    async def serve(environment: Environment, request: Request) -> Response:
        wanted = strictjson.decode(request.body, DispatchRequest)
        if wanted.getUafRequest.op != op:
            raise HttpProblem(400, f"getUafRequest.op is not {op}")
        if not wanted.dispatcher and not wanted.dispatchTargetId:
            raise HttpProblem(400, "neither dispatcher nor dispatchTargetId")
        timing = ServerTiming()
        answer = await dispatch(environment, request, wanted, timing)
        return json_response(answer)._replace(headers=(timing.header(),) if answer.token else ())

    return serve


async def dispatch(
    environment: Environment, request: Request, wanted: DispatchRequest, timing: ServerTiming
) -> DispatchResponse:
    """Dispatch a token; the phone is told that the sender of `request` asked for it.

    Raises:
        MalformedError, UafRefusal: dispatchInformation or context cannot be used.
        HttpProblem: 401, the API credential is not live any more.
    """
    op = wanted.getUafRequest.op
    information = wanted.dispatchInformation or {}
    if not isinstance(information.get("data", {}), dict):
        raise MalformedError("$.dispatchInformation.data", "not an object")
    try:
        shown = environment.dispatchers.get(wanted.dispatcher or "")
        if shown is not None and shown.shown and not (wanted.dispatchTargetId or wanted.sessionId or op == "Dereg"):
            return await _show(environment, request, wanted, shown, timing)
        await _check_credential(environment, request)
        with timing.step("token"):
            session, dispatcher, target = await _open_session(environment, request, wanted, op, information)
    except _Failed as failed:
        return DispatchResponse(failed.result.value)
    with timing.step("encrypt"):
        outgoing = _outgoing(environment, request, session, information, target)
    return await _send(environment, session, dispatcher, outgoing, target=target, timing=timing)


async def _show(
    environment: Environment, request: Request, wanted: DispatchRequest, dispatcher: Dispatcher, timing: ServerTiming
) -> DispatchResponse:
    """Dispatch a fresh token that goes to no target and that nothing is sent for: it is stored as dispatched.

    Raises:
        _Failed: the user is not there.
        MalformedError, UafRefusal: dispatchInformation or context cannot be used.
    """
    op, information = wanted.getUafRequest.op, wanted.dispatchInformation or {}
    demand = demand_in(information, op)
    context = parse_request_context(op, wanted.getUafRequest.context)
    check_request(environment, context)
    dispatcher.check(information)
    now = environment.clock()
    new = sessions.NewToken(
        op=op,
        username=context.username or None,
        context=wanted.getUafRequest.context,
        lifetime=environment.config.lifetimes.token_millis(op),
        linking=make_linking(demand) if demand else None,
    )
    session = sessions.make_token(new, now=now)
    with timing.step("encrypt"):
        outgoing = _outgoing(environment, request, session, information, None)
    result = DispatchResult.DISPATCHED
    try:
        with timing.step("dispatch"):
            response = await dispatcher.dispatch(outgoing)
    except DispatchError as error:
        result, response = DispatchResult.ERROR, str(error)
    with timing.step("token"):
        adding = known_sessions.shown(
            session,
            dispatcher.name,
            response,
            now=now,
            requested_from=request.address,
            credential_id=request.credential_id,
        )
        if not await environment.store.apply((adding,)):
            await _check_credential(environment, request)
            raise _Failed(DispatchResult.USER_NOT_FOUND)
    if op == "Auth":
        environment.remembered.token_made(session)
    return _answer(result, session, dispatcher, response)


async def _check_credential(environment: Environment, request: Request) -> None:
    """Refuse a call whose API credential is remembered, and not live any more. Raises HttpProblem 401."""
    if request.credential_id is not None:
        await check_credential(environment, request.headers, request.limited_as)


def _outgoing(
    environment: Environment,
    request: Request,
    session: TokenSession,
    information: dict[str, Any],
    target: Target | None,
) -> Outgoing:
    op: Operation = session.op  # type: ignore[assignment]
    payload = make_payload(
        environment.config,
        op=op,
        token=session.token,
        recipient=parse_public_jwk(target.encryption_key) if target else None,
        address=request.address,
        user_agent=request.user_agent,
        extra=information.get("data", {}),
        linking=demand_of(read_linking(session.linking)),
    )
    return Outgoing(
        payload=payload,
        information=information,
        op=op,
        session_id=session.id,
        seconds=(session.token_expires_at - environment.clock()) // 1000,
        address=target.target if target else None,
    )


async def _open_session(
    environment: Environment,
    request: Request,
    wanted: DispatchRequest,
    op: Operation,
    information: dict[str, Any],
) -> tuple[TokenSession, Dispatcher, Target | None]:
    """Find user, target and dispatcher, and the session whose token is to go out: a fresh one unless one is named.

    Raises:
        _Failed: one of them is not there, or a deregistration would go out unencrypted.
        MalformedError, UafRefusal: dispatchInformation or context cannot be used.
        TooManyError: the user was sent too many pushes.
    """
    demand = demand_in(information, op)
    context = parse_request_context(op, wanted.getUafRequest.context)
    check_request(environment, context)
    async with environment.store.transaction() as transaction:
        username = context.username or None
        if username is not None and not await accounts.is_active(transaction, username):
            raise _Failed(DispatchResult.USER_NOT_FOUND)
        target = await _find_target(environment, transaction, wanted.dispatchTargetId or None, username)
        dispatcher = _find_dispatcher(environment, wanted.dispatcher or (target.dispatcher if target else None))
        if op == "Reg" and dispatcher.needs_address:
            raise HttpProblem(400, f"a phone that registers has no address for {dispatcher.name} yet: use a QR code")
        dispatcher.check(information)
        if dispatcher.needs_target and target is None:
            raise _Failed(DispatchResult.TARGET_NOT_FOUND)
        if dispatcher.needs_address and target is not None and target.expired_at is not None:
            raise _Failed(DispatchResult.TARGET_EXPIRED)
        if dispatcher.needs_address and target is not None:
            await environment.limits.user_pushes.spend(target.username, within=transaction)
        if target is None and isinstance(context, DeregistrationContext):
            # Anyone may read a plain payload; none may carry a deregistration (HTTP contract 11).
            raise _Failed(DispatchResult.ERROR)
        now = environment.clock()
        if target is not None:
            username = target.username
            await transaction.execute(queries.TOUCH_TARGET, id=target.id, now=now)
        new = sessions.NewToken(
            op=op,
            username=username,
            context=wanted.getUafRequest.context,
            lifetime=environment.config.lifetimes.token_millis(op),
            target_id=target.id if target else None,
            dispatcher=dispatcher.name,
            linking=make_linking(demand) if demand else None,
        )
        session = await _reusable(transaction, wanted.sessionId or None, new, now=now)
        if session is None:
            session = await sessions.add_token(transaction, new, now=now, requested_from=request.address)
    return session, dispatcher, target


async def _find_target(
    environment: Environment, transaction: Transaction, target_id: str | None, username: str | None
) -> Target | None:
    """Return the target asked for. It implies its user: one of another user, or of a disabled one, is not found."""
    if target_id is None:
        return None
    target = await transaction.fetch_one(queries.TARGET, id=target_id)
    if target is None or username not in (None, target.username):
        raise _Failed(DispatchResult.TARGET_NOT_FOUND)
    if not await accounts.is_active(transaction, target.username):
        raise _Failed(DispatchResult.USER_NOT_FOUND)
    lifetime = 1000 * environment.config.lifetimes.target
    if lifetime and target.last_used_at + lifetime <= environment.clock():
        raise _Failed(DispatchResult.TARGET_EXPIRED)
    return target


def _find_dispatcher(environment: Environment, name: str | None) -> Dispatcher:
    dispatcher = environment.dispatchers.get(name or "")
    if dispatcher is None:
        raise _Failed(DispatchResult.DISPATCHER_NOT_FOUND)
    return dispatcher


async def _reusable(
    transaction: Transaction, session_id: str | None, new: sessions.NewToken, *, now: int
) -> TokenSession | None:
    """Return the named session if its token may go out again: unredeemed, same user, operation, context and linking."""
    if session_id is None:
        return None
    session = await transaction.fetch_one(queries.TOKEN_OF_SESSION, id=session_id)
    if session is None or session.redeemed_at is not None or session.token_expires_at <= now:
        return None
    same = (session.state, session.op, session.username, session.context, demand_of(read_linking(session.linking))) == (
        "tokenCreated",
        new.op,
        new.username,
        new.context,
        demand_of(new.linking),
    )
    return session if same else None


async def _send(
    environment: Environment,
    session: TokenSession,
    dispatcher: Dispatcher,
    outgoing: Outgoing,
    *,
    target: Target | None,
    timing: ServerTiming,
) -> DispatchResponse:
    """Dispatch, and keep what went out for a target: its device can ask for it where it never arrived."""
    result, gone = DispatchResult.DISPATCHED, None
    try:
        with timing.step("dispatch"):
            response = await dispatcher.dispatch(outgoing)
    except AddressGoneError as error:
        result, response, gone = DispatchResult.TARGET_EXPIRED, str(error), error
    except DispatchError as error:
        result, response = DispatchResult.ERROR, str(error)
    async with environment.store.transaction() as transaction:
        if gone is not None and target is not None:
            await expire_target(transaction, target, now=environment.clock(), remove=gone.remove)
        await transaction.execute(
            queries.SET_DISPATCHER,
            id=session.id,
            dispatcher=dispatcher.name,
            response=response,
            target_id=target.id if target else None,
        )
        if target is not None and result is DispatchResult.DISPATCHED:
            await transaction.execute(
                queries.ADD_PAYLOAD, target_id=target.id, session_id=session.id, payload=outgoing.payload
            )
    return _answer(result, session, dispatcher, response)


def _answer(result: DispatchResult, session: TokenSession, dispatcher: Dispatcher, response: str) -> DispatchResponse:
    return DispatchResponse(
        result.value,
        token=session.token,
        sessionId=session.id,
        dispatcherInformation=DispatcherInformation(dispatcher.name, response),
        channelLinking=read_linking(session.linking) or UNSET,
    )
