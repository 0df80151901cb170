"""Redeem Token Service (HTTP contract 10)."""

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import RedeemRequest
from fidoloop.protocol.uaf.messages import Operation, ReturnUafRequest
from fidoloop.protocol.uaf.status import UafRefusal
from fidoloop.server import sessions
from fidoloop.server.contexts import AuthenticationContext, parse_request_context
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import Handler, uaf_response
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.store.rows import TokenSession
from fidoloop.server.uaf_requests import Asking, answer_request, redeem_and_ask


def redeem_service(op: Operation) -> Handler:
    """Return the service that redeems tokens of `op`; redeeming starts the response's clock."""

    async def serve(environment: Environment, request: Request) -> Response:
        token = strictjson.decode(request.body, RedeemRequest).token
        now = environment.clock()
        known = environment.remembered.take_session(token)
        if known is not None:
            known_answer = await _redeem_known(environment, request, op, known, now=now)
            if known_answer is not None:
                environment.changes.announce(known.id)
                return uaf_response(known_answer)
        async with environment.store.transaction() as transaction:
            session = await sessions.redeem(transaction, op=op, token=token, now=now)
            try:
                async with transaction.savepoint():
                    context = parse_request_context(op, session.context)
                    asking = _asking(request, session)
                    answer = await answer_request(environment, transaction, op, context, asking)
            except UafRefusal as refusal:
                # The token is spent; Status tells the laptop why nothing came of it.
                await sessions.finish(transaction, session.id, sessions.Outcome(status=refusal.status), now=now)
                answer = ReturnUafRequest(int(refusal.status))
        environment.changes.announce(session.id)
        return uaf_response(answer)

    return serve


async def _redeem_known(
    environment: Environment, request: Request, op: Operation, session: TokenSession, *, now: int
) -> ReturnUafRequest | None:
    """Redeem an authentication's token by what is remembered of it; None in any other case, and nothing is stored."""
    if op != "Auth" or session.op != "Auth":
        return None
    try:
        context = parse_request_context(op, session.context)
        if not isinstance(context, AuthenticationContext):
            return None
        return await redeem_and_ask(environment, session, context, _asking(request, session), now=now)
    except UafRefusal:
        return None


def _asking(request: Request, session: TokenSession) -> Asking:
    return Asking(
        requested_from=request.address,
        session_id=session.id,
        bound_username=session.username,
        linking=session.linking,
    )
