"""Registration, Authentication and Deregistration Request Services (HTTP contract 3 to 5)."""

from fidoloop.protocol.uaf.messages import Operation
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server.contexts import AuthenticationContext, parse_get_uaf_request, parse_request_context
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Handler, encoded_uaf_response, require_credential, uaf_response
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.uaf_requests import Asking, answer_request, answer_usernameless


def request_service(op: Operation) -> Handler:
    """Return the service that issues requests of `op`. An authentication with a username needs an API credential."""

    async def serve(environment: Environment, request: Request) -> Response:
        wanted = parse_get_uaf_request(request.body, op)
        context = parse_request_context(op, wanted.context)
        asking = Asking(requested_from=request.address)
        is_open = isinstance(context, AuthenticationContext) and not context.username
        if is_open:
            await environment.limits.begun.spend(request.limited_as)
        if isinstance(context, AuthenticationContext) and is_open and not context.transaction:
            answer = await answer_usernameless(environment, context, asking)
            return encoded_uaf_response(answer, int(StatusCode.OK))
        async with environment.store.transaction() as transaction:
            if isinstance(context, AuthenticationContext) and context.username:
                await require_credential(transaction, request.headers)
            returned = await answer_request(environment, transaction, op, context, asking)
        return uaf_response(returned)

    return serve
