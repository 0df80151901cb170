"""Codes that a page shows: a dispatched token as a link, and the link as a QR code."""

import asyncio
import base64
from typing import Any, NamedTuple

from msgspec import UNSET

from fidoloop.protocol import qr
from fidoloop.protocol.outofband import DispatchRequest
from fidoloop.protocol.uaf.messages import GetUafRequest
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request
from fidoloop.server.http.server_timing import ServerTiming
from fidoloop.server.services.dispatch_token import DispatchResult, dispatch

QR_SIDE = 720
"""Pixels of a code as it is sent; the page shows it smaller."""


class Code(NamedTuple):
    """The session whose token it holds, the link, and its QR code, PNG in base64."""

    session_id: str
    link: str
    qr: str


async def make_code(
    environment: Environment,
    request: Request,
    wanted: GetUafRequest,
    *,
    device: str | None = None,
    session_id: str | None = None,
    information: dict[str, Any] | None = None,
) -> Code:
    """Dispatch a token as a link: encrypted to `device` where one is named, the token of a session that is open.

    Raises:
        HttpProblem: 503, links are not configured, or there is no such device any more.
    """
    order = DispatchRequest(
        wanted,
        dispatcher="link",
        dispatchTargetId=device or UNSET,
        sessionId=session_id or UNSET,
        dispatchInformation=information or UNSET,
    )
    answer = await dispatch(environment, request, order, ServerTiming())
    if answer.dispatchResult != DispatchResult.DISPATCHED or not answer.sessionId or not answer.dispatcherInformation:
        raise HttpProblem(503, f"no code can be shown: {answer.dispatchResult}")
    return await draw_code(answer.sessionId, answer.dispatcherInformation.response)


async def draw_code(session_id: str, link: str) -> Code:
    """Return the code of a link."""
    drawn = await asyncio.to_thread(qr.png, link, side=QR_SIDE)
    return Code(session_id, link, base64.b64encode(drawn).decode("ascii"))
