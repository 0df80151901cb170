"""Authentication Response Service (seed 002; HTTP contract 4; UAF protocol 3.5.7.5)."""

from fidoloop.protocol import base64url
from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_authentication_response import (
    VerifiedAuthentication,
    parse_authentication_assertions,
    verify_authentication_response,
)
from fidoloop.server.accounts import load_keys
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import uaf_response
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import IssuedRequest
from fidoloop.server.uaf_responses import (
    Ending,
    Received,
    completed,
    conclude,
    expected_of,
    find_request,
    issued_policy,
    issued_transactions,
    read_response,
    refusal_ending,
    user_disabled,
)

LOGIN_EVENT = "authentication"
CONFIRMATION_EVENT = "transaction-confirmation"


async def serve(environment: Environment, request: Request) -> Response:
    """Verify a response and end its session, in one transaction.

    Nothing is locked by reading on PostgreSQL. So every statement that writes says what it relies on, and a response
    whose session or key is no more as it was read changes nothing, or is refused.
    """
    received = read_response(request.body)
    now = environment.clock()
    environment.metadata.refresh(now)
    async with environment.store.transaction() as transaction:
        issued = await find_request(transaction, "Auth", received, now=now)
        try:
            verified = await _verify(environment, transaction, received, issued)
            await _advance_all(environment, transaction, verified, now=now)
        except UafRefusal as refusal:
            ending = refusal_ending(refusal, issued)
        else:
            keys = tuple(StatusAuthenticator(result.key.aaid, result.key.key_id) for result in verified)
            ending = Ending(status=StatusCode.OK, answer=completed(), username=verified[0].key.owner, keys=keys)
        event = CONFIRMATION_EVENT if issued.transactions else LOGIN_EVENT
        await conclude(transaction, received, issued, ending, now=now, event=event, address=request.address)
    environment.changes.announce(issued.id)
    return uaf_response(ending.answer)


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
        raise user_disabled()
    return verified


async def _advance_all(
    environment: Environment, transaction: Transaction, verified: tuple[VerifiedAuthentication, ...], *, now: int
) -> None:
    """Move the counters of all keys, or none."""
    if len(verified) == 1:
        await _advance(environment, transaction, verified[0], now=now)
        return
    async with transaction.savepoint():
        for result in verified:
            await _advance(environment, transaction, result, now=now)


async def _advance(
    environment: Environment, transaction: Transaction, result: VerifiedAuthentication, *, now: int
) -> None:
    """Move a key's counter, unless the key was moved on, removed or its owner disabled since it was read."""
    key = result.key
    moved = await transaction.execute(
        queries.ADVANCE_COUNTER,
        counter=result.sign_counter,
        key_id=key.key_id,
        aaid=key.aaid,
        app_id=environment.config.app_id,
        username=key.owner,
        public_key=key.public_key,
        now=now,
    )
    if moved == 1:
        return
    keys, disabled = await load_keys(environment, transaction, [(key.aaid, key.key_id)])
    stored = keys.get((key.aaid, key.key_id))
    if stored is None or (stored.owner, stored.public_key) != (key.owner, key.public_key):
        raise UafRefusal(StatusCode.UNKNOWN_KEYID, "this KeyID is not registered any more")
    if disabled:
        raise user_disabled()
    raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "sign counter did not advance")
