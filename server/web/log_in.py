"""Services of the log-in page: begin by QR code or push, watch, cancel, finish (HTTP contract 11)."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import ShortText
from fidoloop.protocol.uaf.messages import GetUafRequest, Username
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import EventStream, HttpProblem, Request, Response, json_response
from fidoloop.server.store import web_queries
from fidoloop.server.web import cookies, devices, logged_in, operations
from fidoloop.server.web.codes import make_code
from fidoloop.server.web.pushes import INFORMATION, open_push, push_to, push_to_default
from fidoloop.server.web.state import follow_state, read_state

_PRE_LOGIN_SECONDS = operations.KEEP_MILLIS // 1000
_USERNAMELESS = GetUafRequest("Auth", "{}")


class BeginLogIn(msgspec.Struct, frozen=True):
    """How the phone is to learn of the log-in: a push to one of the browser's devices or to the default device of the
    user named; a code for one of those devices, or for whoever scans it.
    """

    by: Literal["qr", "push"]
    username: Username | UnsetType = UNSET
    device: ShortText | UnsetType = UNSET


class LogInBegun(msgspec.Struct, frozen=True, omit_defaults=True):
    """The operation's id; `now` in epoch milliseconds; `link` and its code, PNG in base64; the `number` to type.

    `pushed` false: the push did not get through, and only the code is left.
    """

    id: str
    now: int
    link: str | UnsetType = UNSET
    qr: str | UnsetType = UNSET
    number: str | UnsetType = UNSET
    pushed: bool = True


class NamedOperation(msgspec.Struct, frozen=True):
    """Which of this browser's operations is meant."""

    id: ShortText


class FinishLogIn(NamedOperation, frozen=True):
    """The log-in to exchange for a cookie, and whether the browser is to be remembered."""

    remember: bool = False


class LoggedIn(msgspec.Struct, frozen=True):
    """Who is logged in now."""

    username: str


async def begin(environment: Environment, request: Request) -> Response:
    """Begin a log-in; whether a user who is named exists, the answer does not say."""
    wanted = strictjson.decode(request.body, BeginLogIn)
    now = environment.clock()
    cookie = await operations.pre_login_cookie(
        environment.store, cookies.read_cookie(request, cookies.PRE_LOGIN), now=now
    )
    begun = await _begin(environment, request, wanted, cookies.digest(cookie), now)
    kept = cookies.set_cookie(cookies.PRE_LOGIN, cookie, seconds=_PRE_LOGIN_SECONDS)
    return json_response(begun)._replace(headers=(kept,))


async def _begin(
    environment: Environment, request: Request, wanted: BeginLogIn, browser_hash: str, now: int
) -> LogInBegun:
    if wanted.by == "push" and wanted.device:
        return await _push_to_device(environment, request, wanted.device, browser_hash, now)
    if wanted.by == "push":
        if not wanted.username:
            raise HttpProblem(400, "a push needs a username or a device")
        asked = await open_push(environment, request, wanted.username, browser_hash)
        environment.later(push_to_default(environment, request, asked, wanted.username))
        return LogInBegun(asked.operation_id, now, number=asked.number)
    device = await devices.find(environment, request, wanted.device) if wanted.device else None
    code = await make_code(environment, request, _USERNAMELESS, device=device.id if device else None)
    username = device.username if device else None
    operation_id = await operations.begin(environment.store, "login", code.session_id, browser_hash, username, now=now)
    return LogInBegun(operation_id, now, code.link, code.qr)


async def _push_to_device(
    environment: Environment, request: Request, device_id: str, browser_hash: str, now: int
) -> LogInBegun:
    """Push, and show the same token as a code for that device alone, should the push be lost."""
    device = await devices.find(environment, request, device_id)
    asked = await open_push(environment, request, device.username, browser_hash)
    pushed = await push_to(environment, request, asked, device)
    if "link" not in environment.dispatchers:
        return LogInBegun(asked.operation_id, now, number=asked.number, pushed=pushed)
    code = await make_code(
        environment, request, asked.wanted, device=device.id, session_id=asked.session_id, information=INFORMATION
    )
    return LogInBegun(asked.operation_id, now, code.link, code.qr, asked.number, pushed)


async def status(environment: Environment, request: Request) -> Response:
    """Answer with the state of this browser's operation."""
    named = strictjson.decode(request.body, NamedOperation)
    return json_response(await read_state(environment, named.id, _watcher(request)))


async def stream(environment: Environment, request: Request) -> EventStream:
    """Answer with an event per change of that state."""
    named = strictjson.decode(request.body, NamedOperation)
    return EventStream(follow_state(environment, named.id, _watcher(request)))


async def cancel(environment: Environment, request: Request) -> Response:
    """Withdraw the operation: its token or request is of no more use."""
    named = strictjson.decode(request.body, NamedOperation)
    await operations.cancel(environment, named.id, _watcher(request))
    return Response(204)


async def finish(environment: Environment, request: Request) -> Response:
    """Exchange the pre-login cookie of a log-in that succeeded for a log-in cookie, once."""
    wanted = strictjson.decode(request.body, FinishLogIn)
    login = await logged_in.exchange(environment, request, wanted.id)
    if login is None:
        raise HttpProblem(403, "no log-in of this browser that succeeded and was not used yet")
    seconds = environment.config.lifetimes.web_login
    headers = [
        cookies.remove_cookie(cookies.PRE_LOGIN),
        cookies.set_cookie(cookies.LOGIN, login.secret, seconds=seconds),
    ]
    if wanted.remember:
        headers.append(await _remember(environment, request, login.username))
    return json_response(LoggedIn(login.username))._replace(headers=tuple(headers))


async def _remember(environment: Environment, request: Request, username: str) -> cookies.Header:
    """Remember the browser by a new cookie, which also stands for the users it was remembered for before."""
    now, seconds = environment.clock(), environment.config.lifetimes.web_browser
    secret, before = cookies.new_secret(), cookies.read_digest(request, cookies.BROWSER)
    async with environment.store.transaction() as transaction:
        known = await transaction.fetch_all(web_queries.REMEMBERED, cookie_hash=before, now=now)
        for name in {username, *(row.value for row in known)}:
            await transaction.execute(
                web_queries.REMEMBER_BROWSER,
                cookie_hash=cookies.digest(secret),
                username=name,
                expires_at=now + 1000 * seconds,
            )
        await transaction.execute(web_queries.FORGET_BROWSER, cookie_hash=before)
    return cookies.set_cookie(cookies.BROWSER, secret, seconds=seconds)


def _watcher(request: Request) -> str:
    return cookies.read_digest(request, cookies.PRE_LOGIN)
