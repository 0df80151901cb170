"""Services of the log-in page: begin by QR code or push, finish (HTTP contract 11)."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import ShortText
from fidoloop.protocol.uaf.messages import GetUafRequest, Username
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.store import web_queries
from fidoloop.server.store.rows import Target
from fidoloop.server.web import cookies, devices, logged_in, operations
from fidoloop.server.web.codes import make_code
from fidoloop.server.web.pushes import INFORMATION, open_push, push_to, push_to_default
from fidoloop.server.web.watching import NamedOperation

_USERNAMELESS = GetUafRequest("Auth", "{}")


class BeginLogIn(msgspec.Struct, frozen=True):
    """How the phone is to learn of the log-in: a push to one of the browser's devices or to the default device of the
    user named; a code for one of those devices, or for whoever scans it.
    """

    by: Literal["qr", "push"]
    username: Username | UnsetType = UNSET
    device: ShortText | UnsetType = UNSET


class Begun(msgspec.Struct, frozen=True, omit_defaults=True):
    """The operation's id; `now` in epoch milliseconds; `link` and its code, PNG in base64; the `number` to type.

    `pushed` false: the push did not get through, and only the code is left.
    """

    id: str
    now: int
    link: str | UnsetType = UNSET
    qr: str | UnsetType = UNSET
    number: str | UnsetType = UNSET
    pushed: bool = True


class FinishLogIn(NamedOperation, frozen=True):
    """The log-in to exchange for a cookie, and whether the browser is to be remembered."""

    remember: bool = False


class LoggedIn(msgspec.Struct, frozen=True):
    """Who is logged in now."""

    username: str


async def begin(environment: Environment, request: Request) -> Response:
    """Begin a log-in; whether a user who is named exists, the answer does not say."""
    wanted = strictjson.decode(request.body, BeginLogIn)
    await environment.limits.begun.spend(request.limited_as)
    now = environment.clock()
    cookie = await operations.pre_login_cookie(environment.store, request, now=now)
    begun = await _begin(environment, request, wanted, cookies.digest(cookie), now)
    return json_response(begun)._replace(headers=(operations.keep_pre_login(cookie),))


async def _begin(environment: Environment, request: Request, wanted: BeginLogIn, browser_hash: str, now: int) -> Begun:
    if wanted.by == "push" and wanted.device:
        return await show_push(
            environment, request, await devices.find(environment, request, wanted.device), browser_hash
        )
    if wanted.by == "push":
        if not wanted.username:
            raise HttpProblem(400, "a push needs a username or a device")
        asked = await open_push(environment, request, wanted.username, browser_hash)
        environment.later(push_to_default(environment, request, asked, wanted.username))
        return Begun(asked.operation_id, now, number=asked.number)
    device = await devices.find(environment, request, wanted.device) if wanted.device else None
    code = await make_code(environment, request, _USERNAMELESS, device=device.id if device else None)
    username = device.username if device else None
    operation_id = await operations.begin(environment.store, "login", code.session_id, browser_hash, username, now=now)
    return Begun(operation_id, now, code.link, code.qr)


async def show_push(
    environment: Environment,
    request: Request,
    device: Target,
    browser_hash: str,
    *,
    purpose: operations.Purpose = "login",
    context: str | None = None,
) -> Begun:
    """Push to a device, and show the same token as a code for it alone, should the push be lost; see `open_push`."""
    asked = await open_push(environment, request, device.username, browser_hash, purpose=purpose, context=context)
    pushed = await push_to(environment, request, asked, device)
    begun = Begun(asked.operation_id, environment.clock(), number=asked.number, pushed=pushed)
    if "link" not in environment.dispatchers:
        return begun
    code = await make_code(
        environment, request, asked.wanted, device=device.id, session_id=asked.session_id, information=INFORMATION
    )
    return msgspec.structs.replace(begun, link=code.link, qr=code.qr)


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
        headers.append(await remember(environment, request, login.username))
    return json_response(LoggedIn(login.username))._replace(headers=tuple(headers))


async def remember(environment: Environment, request: Request, username: str) -> cookies.Header:
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
