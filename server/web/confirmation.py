"""Service of the confirmation page: a text that the user confirms on the phone, which shows it and signs its hash."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.outofband import ShortText
from fidoloop.protocol.uaf.messages import GetUafRequest
from fidoloop.protocol.uaf.transactions import MAX_TEXT_CHARACTERS, TEXT_PLAIN
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.web import cookies, devices, logged_in, operations
from fidoloop.server.web.codes import make_code
from fidoloop.server.web.log_in import Begun, show_push


class BeginConfirmation(msgspec.Struct, frozen=True):
    """The text, and which of the user's devices is to show it; without one, whichever scans the code."""

    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    device: ShortText | UnsetType = UNSET


async def begin(environment: Environment, request: Request) -> Response:
    """Ask the user who is logged in, and nobody else, to confirm the text."""
    login = await logged_in.require(environment, request)
    wanted = strictjson.decode(request.body, BeginConfirmation)
    if not wanted.text.isascii() or not wanted.text.isprintable():
        raise HttpProblem(400, "the text has characters that not every authenticator can show: plain ASCII only")
    content = base64url.encode(wanted.text.encode("ascii"))
    transaction: list[dict[str, Any]] = [{"contentType": TEXT_PLAIN, "content": content}]
    context = strictjson.encode({"username": login.username, "transaction": transaction})
    browser_hash, now = cookies.read_digest(request, cookies.LOGIN), environment.clock()
    target = None
    if wanted.device:
        target = await devices.find_of(environment.store, wanted.device, (login.username,))
    if target is not None and devices.is_pushed_to(environment, target):
        return json_response(
            await show_push(environment, request, target, browser_hash, purpose="confirm", context=context)
        )
    order = GetUafRequest("Auth", context)
    code = await make_code(environment, request, order, device=target.id if target else None)
    operation_id = await operations.begin(
        environment.store, "confirm", code.session_id, browser_hash, login.username, now=now
    )
    return json_response(Begun(operation_id, now, code.link, code.qr))
