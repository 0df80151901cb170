"""Services of the lab console."""

from typing import Any

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import ShortText, decode_payload
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import EventStream, HttpProblem, Request, Response, json_response
from fidoloop.server.lab import changes
from fidoloop.server.lab.access import COOKIE, COOKIE_SECONDS
from fidoloop.server.lab.console import Lab
from fidoloop.server.lab.decoding import readable
from fidoloop.server.lab.faults import InjectFault, inject
from fidoloop.server.lab.making import NewLabSession, make_session
from fidoloop.server.lab.overview import overview
from fidoloop.server.lab.redaction import jose_outline
from fidoloop.server.store import lab_queries
from fidoloop.server.web import cookies
from fidoloop.server.web.layout import page


class EnterLab(msgspec.Struct, frozen=True):
    """The token that the server printed."""

    token: ShortText


class NamedSession(msgspec.Struct, frozen=True):
    """Which session's story is meant; the empty text is that of messages which belong to none."""

    id: str


class StoryShown(msgspec.Struct, frozen=True):
    """What happened in a session: changes of state, messages and faults in their order.

    `payload` is the header of the encrypted payload that was dispatched to a device; `dropped` entries had no room.
    """

    id: str
    entries: tuple[Any, ...]
    dropped: int
    payload: Any = None


async def show_page(environment: Environment, request: Request) -> Response:
    """Answer with the page; it says nothing of the server itself."""
    admitted = _lab(environment).access.admits(request, now=environment.clock())
    return page("lab", "Lab console", logged_in=admitted)


async def enter(environment: Environment, request: Request) -> Response:
    """Exchange the printed token for the cookie, once."""
    token = strictjson.decode(request.body, EnterLab).token
    secret = _lab(environment).access.enter(token, now=environment.clock())
    if secret is None:
        raise HttpProblem(403, "not the token that was printed, or it was used: restart the server for a new one")
    return Response(204, headers=(cookies.set_cookie(COOKIE, secret, seconds=COOKIE_SECONDS),))


async def leave(environment: Environment, request: Request) -> Response:
    """Shut the lab behind the browser."""
    _lab(environment).access.leave()
    return Response(204, headers=(cookies.remove_cookie(COOKIE),))


async def show_overview(environment: Environment, request: Request) -> Response:
    """Answer with users, dispatch targets and keys."""
    return json_response(await overview(environment))


async def stream(environment: Environment, request: Request) -> EventStream:
    """Answer with an event per session, and per change of one."""
    return EventStream(changes.follow(environment, _lab(environment)))


async def story(environment: Environment, request: Request) -> Response:
    """Answer with what happened in a session."""
    session_id = strictjson.decode(request.body, NamedSession).id
    found = _lab(environment).stories.of(session_id)
    entries = tuple(readable(entry) for entry in found.entries)
    return json_response(StoryShown(session_id, entries, found.dropped, await _payload(environment, session_id)))


async def make(environment: Environment, request: Request) -> Response:
    """Begin a session that faults may be injected into, and answer with its code."""
    wanted = strictjson.decode(request.body, NewLabSession)
    return json_response(await make_session(environment, _lab(environment), request, wanted))


async def inject_fault(environment: Environment, request: Request) -> Response:
    """Inject a fault into a session made in the lab."""
    wanted = strictjson.decode(request.body, InjectFault)
    return json_response(await inject(environment, _lab(environment), request, wanted))


async def _payload(environment: Environment, session_id: str) -> Any:  # noqa: ANN401 - JSON
    found = await environment.store.fetch_one(lab_queries.PAYLOAD_OF, session_id=session_id)
    data = None if found is None else decode_payload(found.value).nma_data
    return jose_outline(data) if isinstance(data, str) else None


def _lab(environment: Environment) -> Lab:
    if environment.lab is None:
        raise HttpProblem(404, "there is nothing at this path")
    return environment.lab
