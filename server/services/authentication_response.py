"""Authentication Response Service (seed 002; HTTP contract 4; UAF protocol 3.5.7.5)."""

from datetime import date

from fidoloop.protocol import base64url
from fidoloop.protocol.outofband import StatusAuthenticator
from fidoloop.protocol.uaf.assertions import AuthenticationAssertion
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_authentication_response import (
    StoredKey,
    VerifiedAuthentication,
    parse_authentication_assertions,
    verify_authentication_response,
)
from fidoloop.server import sessions
from fidoloop.server.accounts import load_keys
from fidoloop.server.channel_linking import NotLinkedError, check_linking
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import uaf_response
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.store import queries
from fidoloop.server.store.base import Change, Transaction
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

_EPOCH = date(1970, 1, 1).toordinal()
_DAY_MILLIS = 86_400_000
LOGIN_EVENT = "authentication"
CONFIRMATION_EVENT = "transaction-confirmation"
_COMPLETED = uaf_response(completed())
_OK = int(StatusCode.OK)


async def serve(environment: Environment, request: Request) -> Response:
    """Verify a response and end its session, in one transaction.

    A good response to a request that is remembered is verified by what is remembered; the store is asked about all
    others. Nothing is locked by remembering, nor by reading on PostgreSQL. So every statement that writes says what it
    relies on, and a response whose session or key is no more as it was changes nothing, or is refused.
    """
    received = read_response(request)
    now = environment.clock()
    environment.metadata.refresh(now)
    known = environment.remembered.take_request(received.server_data)
    if known is not None and await _succeed(environment, received, known, now=now, address=request.address):
        environment.changes.announce(known.id)
        environment.metrics.operations[_event(known), _OK] += 1
        return _COMPLETED
    async with environment.store.transaction() as transaction:
        issued = await find_request(transaction, "Auth", received, now=now)
        try:
            verified = await _verify(environment, transaction, received, issued, now)
            if issued.linking is not None:
                await check_linking(transaction, issued.id, issued.linking, received.linking_answer, now=now)
            await _advance_all(environment, transaction, verified, now=now)
        except UafRefusal as refusal:
            ending = refusal_ending(refusal, issued)
            if isinstance(refusal, NotLinkedError) and refusal.tries_left:
                # The request stays open, and the key's counter where it is: the same response may come again.
                environment.metrics.operations[_event(issued), int(ending.status)] += 1
                return uaf_response(ending.answer)
        else:
            keys = tuple(StatusAuthenticator(result.key.aaid, result.key.key_id) for result in verified)
            ending = Ending(status=StatusCode.OK, answer=completed(), username=verified[0].key.owner, keys=keys)
        await conclude(transaction, received, issued, ending, now=now, event=_event(issued), address=request.address)
    environment.changes.announce(issued.id)
    environment.metrics.operations[_event(issued), int(ending.status)] += 1
    return uaf_response(ending.answer)


async def _succeed(
    environment: Environment, received: Received, issued: IssuedRequest, *, now: int, address: str
) -> bool:
    """Verify a response by what is remembered, and keep it if it is good and the store is as remembered.

    False in any other case: nothing has changed then, and the store is asked.
    """
    if received.asm_status is not None or received.client_error is not None or issued.linking is not None:
        return False
    try:
        assertions = parse_authentication_assertions(received.response)
        keys = environment.remembered.keys([(each.aaid, base64url.encode(each.key_id)) for each in assertions])
        if len(keys) < len(assertions):
            return False
        verified = _verify_with(environment, received, issued, assertions, keys, now=now)
    except UafRefusal:
        return False
    owner, app_id = verified[0].key.owner, environment.config.app_id
    taken = tuple(StatusAuthenticator(result.key.aaid, result.key.key_id) for result in verified)
    changes = [
        *(_advancing(result, app_id, now) for result in verified),
        sessions.success(issued, received.server_data, owner, taken, now=now, event=_event(issued), address=address),
    ]
    if not await environment.store.apply(changes):
        return False
    for result in verified:
        environment.remembered.key_used(result.key, result.sign_counter)
    return True


async def _verify(
    environment: Environment, transaction: Transaction, received: Received, issued: IssuedRequest, now: int
) -> tuple[VerifiedAuthentication, ...]:
    assertions = parse_authentication_assertions(received.response)
    wanted = [(assertion.aaid, base64url.encode(assertion.key_id)) for assertion in assertions]
    keys, disabled = await load_keys(environment, transaction, wanted)
    verified = _verify_with(environment, received, issued, assertions, keys, now=now)
    if disabled and any(result.key.owner in disabled for result in verified):
        raise user_disabled()
    return verified


def _verify_with(
    environment: Environment,
    received: Received,
    issued: IssuedRequest,
    assertions: tuple[AuthenticationAssertion, ...],
    keys: dict[tuple[str, str], StoredKey],
    *,
    now: int,
) -> tuple[VerifiedAuthentication, ...]:
    return verify_authentication_response(
        received.response,
        assertions,
        expected=expected_of(environment, issued, received, now),
        expected_owner=issued.username,
        policy=issued_policy(issued.policy),
        metadata=environment.metadata.get,
        keys=keys,
        transactions=issued_transactions(issued.transactions),
        on=date.fromordinal(_EPOCH + now // _DAY_MILLIS),
    )


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


def _event(issued: IssuedRequest) -> str:
    return CONFIRMATION_EVENT if issued.transactions else LOGIN_EVENT


def _advancing(result: VerifiedAuthentication, app_id: str, now: int) -> Change:
    """Return the change that moves a key's counter, if the key is as it was and its owner active."""
    key = result.key
    return Change(
        queries.ADVANCE_COUNTER,
        {
            "counter": result.sign_counter,
            "now": now,
            "key_id": key.key_id,
            "aaid": key.aaid,
            "app_id": app_id,
            "username": key.owner,
            "public_key": key.public_key,
        },
    )


async def _advance(
    environment: Environment, transaction: Transaction, result: VerifiedAuthentication, *, now: int
) -> None:
    """Move a key's counter, unless the key was moved on, removed or its owner disabled since it was read."""
    key = result.key
    change = _advancing(result, environment.config.app_id, now)
    if await transaction.execute(change.query, **change.parameters) == 1:
        environment.remembered.key_used(key, result.sign_counter)
        return
    keys, disabled = await load_keys(environment, transaction, [(key.aaid, key.key_id)])
    stored = keys.get((key.aaid, key.key_id))
    if stored is None or (stored.owner, stored.public_key) != (key.owner, key.public_key):
        raise UafRefusal(StatusCode.UNKNOWN_KEYID, "this KeyID is not registered any more")
    if disabled:
        raise user_disabled()
    raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "sign counter did not advance")
