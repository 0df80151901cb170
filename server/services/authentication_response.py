"""Authentication Response Service (seed 002; HTTP contract 4; UAF protocol 3.5.7.5)."""

from fidoloop.protocol import base64url
from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.messages import ServerResponse
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_authentication_response import (
    VerifiedAuthentication,
    parse_authentication_assertions,
    verify_authentication_response,
)
from fidoloop.server import audit, sessions
from fidoloop.server.accounts import load_keys
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import uaf_response
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import IssuedRequest
from fidoloop.server.uaf_responses import (
    NO_REQUEST,
    Received,
    completed,
    expected_of,
    issued_policy,
    issued_transactions,
    read_response,
    refused,
)

LOGIN_EVENT = "authentication"
CONFIRMATION_EVENT = "transaction-confirmation"


async def serve(environment: Environment, request: Request) -> Response:
    """Verify a response. All of it, from taking the challenge to the audit entry, is one transaction."""
    received = read_response(request.body)
    now = environment.clock()
    environment.metadata.refresh(now)
    async with environment.store.transaction() as transaction:
        issued = await sessions.consume(transaction, op="Auth", server_data=received.server_data, now=now)
        if issued is None:
            raise NO_REQUEST
        answer = await _settle(environment, transaction, received, issued, now=now, address=request.address)
    environment.changes.announce(issued.id)
    return uaf_response(answer)


async def _settle(
    environment: Environment,
    transaction: Transaction,
    received: Received,
    issued: IssuedRequest,
    *,
    now: int,
    address: str,
) -> ServerResponse:
    """End the session: succeeded with the keys' counters moved, or failed with nothing else changed."""
    try:
        verified = await _verify(environment, transaction, received, issued)
        if len(verified) == 1:
            await _advance(environment, transaction, verified[0], now=now)
        else:
            # All counters move or none.
            async with transaction.savepoint():
                for result in verified:
                    await _advance(environment, transaction, result, now=now)
    except UafRefusal as refusal:
        status, answer, username = refusal.status, refused(refusal), issued.username
        taken: tuple[StatusAuthenticator, ...] = ()
    else:
        status, answer, username = StatusCode.OK, completed(), verified[0].key.owner
        taken = tuple(StatusAuthenticator(result.key.aaid, result.key.key_id) for result in verified)
    outcome = sessions.Outcome(
        status=status,
        username=username,
        asm_status=received.asm_status,
        client_error=received.client_error,
        authenticators=taken,
    )
    await sessions.finish(transaction, issued.id, outcome, now=now)
    first = taken[0] if taken else None
    await audit.record(
        transaction,
        now=now,
        event=CONFIRMATION_EVENT if issued.transactions else LOGIN_EVENT,
        outcome=status,
        username=username,
        aaid=first.aaid if first else None,
        key_id=first.keyId if first else None,
        session_id=issued.id,
        address=address,
        requested_from=issued.requested_from,
    )
    return answer


async def _verify(
    environment: Environment, transaction: Transaction, received: Received, issued: IssuedRequest
) -> tuple[VerifiedAuthentication, ...]:
    assertions = parse_authentication_assertions(received.response)
    wanted = [(assertion.aaid, base64url.encode(assertion.key_id)) for assertion in assertions]
    keys, disabled = await load_keys(environment, transaction, wanted)
    verified = verify_authentication_response(
        received.response,
        assertions,
        expected=expected_of(environment, issued),
        expected_owner=issued.username,
        policy=issued_policy(issued.policy),
        metadata=environment.metadata.get,
        keys=keys,
        transactions=issued_transactions(issued.transactions),
    )
    if disabled and any(result.key.owner in disabled for result in verified):
        raise UafRefusal(StatusCode.FORBIDDEN, "the user is disabled")
    return verified


async def _advance(
    environment: Environment, transaction: Transaction, result: VerifiedAuthentication, *, now: int
) -> None:
    """Move a key's counter, unless another response moved it meanwhile."""
    moved = await transaction.execute(
        queries.ADVANCE_COUNTER,
        counter=result.sign_counter,
        key_id=result.key.key_id,
        aaid=result.key.aaid,
        app_id=environment.config.app_id,
        now=now,
    )
    if moved != 1:
        raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "sign counter did not advance")
