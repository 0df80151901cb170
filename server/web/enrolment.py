"""Services of the enrolment page: another phone for a user, or one for whoever holds an enrolment code.

Whoever redeems a registration token first owns it. So the page shows what was enrolled, and can take it back (HTTP
contract 11).
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import outofband, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import JoseRefusal
from fidoloop.protocol.uaf.messages import GetUafRequest
from fidoloop.server import sessions
from fidoloop.server.deregistration import remove_key
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.payloads import make_payload
from fidoloop.server.store import queries, web_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.targets import remove_target
from fidoloop.server.web import cookies, logged_in, operations
from fidoloop.server.web.codes import Code, draw_code, make_code
from fidoloop.server.web.state import keys_of
from fidoloop.server.web.watching import NamedOperation


class BeginEnrolment(msgspec.Struct, frozen=True):
    """The code that `server enrol` gave out; without one, the browser's own user gets another phone."""

    code: Annotated[str, Meta(min_length=1, max_length=8192)] | UnsetType = UNSET


class EnrolmentBegun(msgspec.Struct, frozen=True):
    """The operation's id; `now` in epoch milliseconds; whose phone it will be; the link and its code, PNG in base64."""

    id: str
    now: int
    username: str
    link: str
    qr: str


async def begin(environment: Environment, request: Request) -> Response:
    """Show a registration token as a code."""
    wanted = strictjson.decode(request.body, BeginEnrolment)
    now = environment.clock()
    if wanted.code:
        cookie = await operations.pre_login_cookie(environment.store, request, now=now)
        username, code = await _code_given_out(environment, request, wanted.code, now)
        browser_hash, headers = cookies.digest(cookie), [operations.keep_pre_login(cookie)]
    else:
        login = await logged_in.require(environment, request)
        username = login.username
        order = GetUafRequest("Reg", sessions.registration_context(username))
        code = await make_code(environment, request, order)
        browser_hash, headers = cookies.read_digest(request, cookies.LOGIN), []
    operation_id = await operations.begin(environment.store, "enrol", code.session_id, browser_hash, username, now=now)
    begun = EnrolmentBegun(operation_id, now, username, code.link, code.qr)
    return json_response(begun)._replace(headers=tuple(headers))


async def undo(environment: Environment, request: Request) -> Response:
    """Take back what was enrolled: its keys and its dispatch target, once."""
    named = strictjson.decode(request.body, NamedOperation)
    by = operations.watcher(request)
    async with environment.store.transaction() as transaction:
        taken = await transaction.fetch_one(web_queries.TAKE_ENROLMENT, id=named.id, **by._asdict())
        if taken is None:
            raise HttpProblem(403, "no enrolment of this browser that can be taken back")
        await _take_back(environment, transaction, taken.value, request.address)
    return Response(204)


async def _code_given_out(environment: Environment, request: Request, text: str, now: int) -> tuple[str, Code]:
    """Return whose enrolment code it is, and the same token as a code of this server's own making."""
    try:
        token = outofband.open_payload(outofband.decode_scanned(text), None).token
    except (MalformedError, JoseRefusal):
        raise HttpProblem(400, "this is no enrolment code") from None
    found = await environment.store.fetch_one(queries.TOKEN, token=token)
    if (
        found is None
        or (found.op, found.state) != ("Reg", "tokenCreated")
        or found.username is None
        or found.token_expires_at <= now
    ):
        raise HttpProblem(404, "this enrolment code is not known here, was used or has expired")
    payload = make_payload(
        environment.config,
        op="Reg",
        token=token,
        recipient=None,
        address=request.address,
        user_agent=request.user_agent,
    )
    return found.username, await draw_code(found.id, outofband.link(environment.config.link_base_url, payload))


async def _take_back(environment: Environment, transaction: Transaction, session_id: str, address: str) -> None:
    now = environment.clock()
    session = await transaction.fetch_one(queries.STATUS, id=session_id)
    if session is None or session.username is None:
        return
    enrolled = {(key.aaid, key.keyId) for key in keys_of(session)}
    app_id = environment.config.app_id
    for credential in await transaction.fetch_all(queries.CREDENTIALS_OF, username=session.username, app_id=app_id):
        if (credential.aaid, credential.key_id) in enrolled:
            await remove_key(transaction, credential, now=now, session_id=session_id, requested_from=address)
    target = await transaction.fetch_one(queries.TARGET_OF_SESSION, id=session_id)
    if target is not None:
        await remove_target(transaction, target.value, now=now)
