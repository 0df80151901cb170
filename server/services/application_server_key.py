"""The key that push subscriptions for this server are to be bound to (RFC 8292 section 4; the contract has no such)."""

from fidoloop.protocol.outofband import ApplicationServerKey
from fidoloop.server.dispatchers.web_push import WebPushDispatcher
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response


async def serve(environment: Environment, _: Request) -> Response:
    """200 {"applicationServerKey"}; 404 this server does not push so."""
    dispatcher = environment.dispatchers.get(WebPushDispatcher.name)
    if not isinstance(dispatcher, WebPushDispatcher):
        raise HttpProblem(404, "this server has no dispatcher web-push")
    return json_response(ApplicationServerKey(dispatcher.application_server_key))
