"""Create Token Service: tokens for later, not for out-of-band use (HTTP contract 10)."""

from fidoloop.protocol.outofband import CreateTokenResponse
from fidoloop.protocol.uaf.messages import Operation
from fidoloop.server import accounts, sessions
from fidoloop.server.contexts import parse_get_uaf_request, parse_request_context
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Handler
from fidoloop.server.http.messages import Request, Response, json_response
from fidoloop.server.uaf_requests import check_request


def create_service(op: Operation) -> Handler:
    """Return the service that makes tokens for `op`."""

    async def serve(environment: Environment, request: Request) -> Response:
        wanted = parse_get_uaf_request(request.body, op)
        context = parse_request_context(op, wanted.context)
        check_request(environment, context)
        username = context.username or None
        new = sessions.NewToken(
            op=op,
            username=username,
            context=wanted.context,
            lifetime=environment.config.lifetimes.token_millis(op),
        )
        async with environment.store.transaction() as transaction:
            if username is not None:
                await accounts.require_active(transaction, username)
            session = await sessions.add_token(
                transaction, new, now=environment.clock(), requested_from=request.address
            )
        return json_response(CreateTokenResponse(session.token, session.id))

    return serve
