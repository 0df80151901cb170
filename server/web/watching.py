"""Services for what a page began: its state, its state as it goes on, and an end to it."""

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import ShortText
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import EventStream, Request, Response, json_response
from fidoloop.server.web import operations
from fidoloop.server.web.operations import watcher
from fidoloop.server.web.state import follow_state, read_state


class NamedOperation(msgspec.Struct, frozen=True):
    """Which of this browser's operations is meant."""

    id: ShortText


async def status(environment: Environment, request: Request) -> Response:
    """Answer with the state of this browser's operation."""
    named = strictjson.decode(request.body, NamedOperation)
    await environment.limits.session.spend(named.id)
    return json_response(await read_state(environment, named.id, watcher(request)))


async def stream(environment: Environment, request: Request) -> EventStream:
    """Answer with an event per change of that state."""
    named = strictjson.decode(request.body, NamedOperation)
    await environment.limits.session.spend(named.id)
    return EventStream(follow_state(environment, named.id, watcher(request)))


async def cancel(environment: Environment, request: Request) -> Response:
    """Withdraw the operation: its token or request is of no more use."""
    named = strictjson.decode(request.body, NamedOperation)
    await operations.cancel(environment, named.id, watcher(request))
    return Response(204)
