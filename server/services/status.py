"""Status Service and its live stream (HTTP contract 10). Timeouts are worked out when somebody asks."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import (
    DispatcherInformation,
    StatusAuthenticator,
    StatusRequest,
    StatusResponse,
    TokenInformation,
)
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import EventStream, Request, Response, json_response
from fidoloop.server.sessions import ENDED, FAILED
from fidoloop.server.store import queries
from fidoloop.server.store.rows import LabSessionRow, SessionStatus

UNKNOWN = "unknown"
ASK_AGAIN_SECONDS = 0.5
SIGN_OF_LIFE_MILLIS = 15_000
_TERMINAL = ENDED | {UNKNOWN}


async def serve(environment: Environment, request: Request) -> Response:
    """Answer with the session's status; a session nobody knows is `unknown`, not an error."""
    session_id = strictjson.decode(request.body, StatusRequest).sessionId
    await environment.limits.session.spend(session_id)
    return json_response(await read_status(environment, session_id))


async def serve_stream(environment: Environment, request: Request) -> EventStream:
    """Answer with an event per change of status, the present one first, the last one final, unless the server stops."""
    session_id = strictjson.decode(request.body, StatusRequest).sessionId
    await environment.limits.session.spend(session_id)

    async def read() -> tuple[str, bool]:
        status = await read_status(environment, session_id)
        return strictjson.encode(status), status.status in _TERMINAL

    return EventStream(follow(environment, session_id, read))


async def follow(
    environment: Environment, session_id: str, read: Callable[[], Awaitable[tuple[str, bool]]]
) -> AsyncIterator[tuple[str, str] | None]:
    """Give an event `status` per change of what `read` returns of a session: its text, and whether it is the last."""
    last = ""
    said_at = environment.clock()
    with environment.changes.watch(session_id) as watch:
        while True:
            text, final = await read()
            if text != last:
                yield "status", text
                last, said_at = text, environment.clock()
            elif environment.clock() - said_at >= SIGN_OF_LIFE_MILLIS:
                yield None
                said_at = environment.clock()
            if final or environment.changes.stopping:
                return
            await watch.changed(ASK_AGAIN_SECONDS)


async def read_status(environment: Environment, session_id: str) -> StatusResponse:
    """Return the status of a session at the present time."""
    now = environment.clock()
    row = await environment.store.fetch_one(queries.STATUS, id=session_id)
    if row is None:
        return StatusResponse(UNKNOWN, iso(now))
    status, code, at = row.state, row.uaf_status, row.updated_at
    expired_at = expiry(row, now)
    if expired_at is not None:
        status, code, at = FAILED, int(StatusCode.REQUEST_TIMEOUT), expired_at
    taken = msgspec.json.decode(row.authenticators, type=tuple[StatusAuthenticator, ...]) if row.authenticators else ()
    return StatusResponse(
        status,
        iso(at),
        userId=UNSET if row.username is None else row.username,
        uafStatusCode=UNSET if code is None else code,
        asmStatusCode=UNSET if row.asm_status is None else row.asm_status,
        clientErrorCode=UNSET if row.client_error is None else row.client_error,
        authenticators=taken or UNSET,
        tokenInformation=_token_information(row, now),
    )


def expiry(row: SessionStatus | LabSessionRow, now: int) -> int | None:
    """Return when an open session ran out of time: its token unredeemed, or its request unanswered."""
    deadline = deadline_of(row)
    return deadline if row.state not in ENDED and deadline is not None and deadline <= now else None


def deadline_of(row: SessionStatus | LabSessionRow) -> int | None:
    """Return until when the session's token can be redeemed, or its request answered."""
    return row.token_expires_at if row.request_expires_at is None else row.request_expires_at


def _token_information(row: SessionStatus, now: int) -> TokenInformation | msgspec.UnsetType:
    if row.token_expires_at is None:
        return UNSET
    information = TokenInformation()
    if row.redeemed_at is not None:
        information = TokenInformation("tokenRedeemed")
    elif row.token_expires_at <= now:
        information = TokenInformation("tokenTimedOut")
    if row.dispatcher is None:
        return information
    dispatcher = DispatcherInformation(row.dispatcher, row.dispatcher_response or "")
    return msgspec.structs.replace(information, dispatcherInformation=dispatcher)


def iso(millis: int) -> str:
    """Return epoch milliseconds in ISO 8601, UTC."""
    moment = datetime.fromtimestamp(millis / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
