"""Faults that can be injected, each into a session that was made in the lab and into no other."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.types import ASGIApp

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import RedeemRequest, ShortText
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.server.config import CONTEXT_PATH
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Dispatch, Handler, Kind, Routes, refusal_response
from fidoloop.server.http.messages import FIDO_UAF, EventStream, HttpProblem, Request, Response
from fidoloop.server.lab.changes import change_of
from fidoloop.server.lab.console import WAKE, Lab, LabSession
from fidoloop.server.lab.making import CodeShown, code_for_another_key
from fidoloop.server.lab.recording import RESPONSE_PATH, Exchange, Recording, keep
from fidoloop.server.lab.stories import Fault
from fidoloop.server.services import authentication_response
from fidoloop.server.store import lab_queries, queries

MAX_SKEW_MINUTES: Final = 24 * 60
_REDEEM_PATH: Final = f"{CONTEXT_PATH}/token/redeem/authentication"
FaultName = Literal["expiredToken", "wrongKey", "replay", "clockSkew"]


class InjectFault(msgspec.Struct, frozen=True):
    """The fault, and the session made in the lab that it is for; `minutes`: so far is the clock off, and which way."""

    id: ShortText
    fault: FaultName
    minutes: Annotated[int, Meta(ge=-MAX_SKEW_MINUTES, le=MAX_SKEW_MINUTES)] = -10


class Injected(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was done and what is to be seen; `code` is what the phone is to scan now, where that changed."""

    words: str
    code: CodeShown | UnsetType = UNSET


async def inject(environment: Environment, lab: Lab, request: Request, wanted: InjectFault) -> Injected:
    """Inject a fault.

    Raises:
        HttpProblem: 404, the session was not made in the lab; 409, it is too late for this fault.
    """
    session = lab.sessions.get(wanted.id)
    if session is None:
        raise HttpProblem(404, "faults are for sessions made in the lab, and this is none")
    done = await _INJECTORS[wanted.fault](environment, request, session, wanted.minutes)
    lab.stories.add_fault(session.id, Fault(environment.clock(), wanted.fault, done.words))
    environment.changes.announce(WAKE)
    if wanted.fault == "replay":
        await _arm_replay(environment, lab, request, session)
    return done


async def _expire(environment: Environment, request: Request, session: LabSession, minutes: int) -> Injected:
    now = environment.clock()
    if await environment.store.execute(lab_queries.EXPIRE_TOKEN, id=session.id, now=now) != 1:
        raise HttpProblem(409, "the token was redeemed or has expired: make a new session")
    return Injected(f"The token has expired now. Whoever redeems it is refused with {int(StatusCode.REQUEST_TIMEOUT)}.")


async def _encrypt(environment: Environment, request: Request, session: LabSession, minutes: int) -> Injected:
    code = await code_for_another_key(environment, request, session)
    return Injected("The code is for another phone's key now. This phone refuses it, and redeems nothing.", code)


async def _say_replay(environment: Environment, request: Request, session: LabSession, minutes: int) -> Injected:
    when = (
        "As soon as the phone has answered, its answer is sent again"
        if session.response is None
        else "It is sent again"
    )
    return Injected(f"{when}. The server refuses it with {int(StatusCode.REQUEST_INVALID)}: its request was used.")


async def _skew(environment: Environment, request: Request, session: LabSession, minutes: int) -> Injected:
    row = await environment.store.fetch_one(lab_queries.SESSION, id=session.id)
    present = None if row is None else change_of(row, environment.clock()).state
    if not minutes:
        raise HttpProblem(400, "a clock that is off by no minutes is right")
    if present == "tokenCreated":
        session.skew_minutes = minutes
        when = "The challenge will be issued"
    elif await _shift(environment, session.id, minutes):
        when = "The challenge was issued"
    else:
        raise HttpProblem(409, "the request was answered or has expired: make a new session")
    seconds = environment.config.lifetimes.authentication_response + 60 * minutes
    outcome = (
        f"can be answered for {seconds} seconds"
        if seconds > 0
        else "has expired: its answer is refused with {int(StatusCode.REQUEST_INVALID)}"
    )
    return Injected(f"{when} as if the clock were off by {minutes:+d} minutes. It {outcome}.")


_INJECTORS: Final[dict[FaultName, Callable[[Environment, Request, LabSession, int], Awaitable[Injected]]]] = {
    "expiredToken": _expire,
    "wrongKey": _encrypt,
    "replay": _say_replay,
    "clockSkew": _skew,
}


async def _shift(environment: Environment, session_id: str, minutes: int) -> bool:
    offset = 60_000 * minutes
    return await environment.store.execute(lab_queries.SHIFT_REQUEST, id=session_id, offset=offset) == 1


async def _arm_replay(environment: Environment, lab: Lab, request: Request, session: LabSession) -> None:
    """Have the response sent again, now or when there is one."""
    if session.response is not None:
        await _replay(environment, lab, request, session.response)
    else:
        session.on_response = lambda body: environment.later(_replay(environment, lab, request, body))


async def _replay(environment: Environment, lab: Lab, request: Request, body: bytes) -> None:
    """Send a response again, as a phone or whoever overheard it would."""
    again = Request("POST", RESPONSE_PATH, "", b"", {}, body, request.address)
    try:
        answer = await authentication_response.serve(environment, again)
    except UafRefusal as refusal:
        answer = refusal_response(Kind.UAF_RESPONSE, refusal)
    except MalformedError as error:
        answer = refusal_response(Kind.UAF_RESPONSE, UafRefusal(StatusCode.BAD_REQUEST, str(error)))
    exchange = Exchange("POST", RESPONSE_PATH, FIDO_UAF, body, answer.status, FIDO_UAF, answer.body)
    await keep(environment, lab, exchange, note="sent again by the lab")


def recorded(environment: Environment, lab: Lab, routes: Routes) -> ASGIApp:
    """Return the server of `routes` with the lab on."""
    return Recording(Dispatch(environment, with_faults(routes, lab)), environment, lab, routes)


def with_faults(routes: Routes, lab: Lab) -> Routes:
    """Return `routes` with the moment that a clock's skew waits for: a token made in the lab is redeemed."""
    methods = {
        method: replace(one, handler=_redeeming(one.handler, lab)) for method, one in routes[_REDEEM_PATH].items()
    }
    return routes | {_REDEEM_PATH: methods}


def _redeeming(handler: Handler, lab: Lab) -> Handler:
    async def serve(environment: Environment, request: Request) -> Response | EventStream:
        token = strictjson.decode(request.body, RedeemRequest).token
        known = await environment.store.fetch_one(queries.TOKEN, token=token)
        answer = await handler(environment, request)
        session = lab.sessions.get(known.id) if known is not None else None
        if session is not None and session.skew_minutes:
            await _shift(environment, session.id, session.skew_minutes)
            session.skew_minutes = 0
        return answer

    return serve
