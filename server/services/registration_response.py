"""Registration Response Service (HTTP contract 3; UAF protocol 3.4.6.5)."""

from datetime import UTC, datetime

from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import NewDispatchTarget, StatusAuthenticator
from fidoloop.protocol.uaf.messages import ServerResponse
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_registration_response import RegisteredKey, verify_registration_response
from fidoloop.server import accounts, audit, sessions
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import uaf_response
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import IssuedRequest
from fidoloop.server.targets import TargetRefusal, add_target
from fidoloop.server.uaf_responses import (
    NO_REQUEST,
    Received,
    completed,
    expected_of,
    issued_policy,
    read_response,
    refused,
)


async def serve(environment: Environment, request: Request) -> Response:
    """Verify a response and store its keys, and the dispatch target beside it, in one transaction."""
    received = read_response(request.body)
    now = environment.clock()
    environment.metadata.refresh(now)
    async with environment.store.transaction() as transaction:
        issued = await sessions.consume(transaction, op="Reg", server_data=received.server_data, now=now)
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
    """End the session: succeeded with keys and target stored, or failed with nothing stored."""
    keys: tuple[RegisteredKey, ...] = ()
    members: dict[str, str] = {}
    status = StatusCode.OK
    try:
        async with transaction.savepoint():
            keys = await _register(environment, transaction, received, issued, now=now)
            if received.context.dispatchTarget is not UNSET:
                members["dispatchTargetId"] = await _add_target(environment, transaction, received, issued, now=now)
        answer = completed(**members)
    except UafRefusal as refusal:
        keys, status, answer = (), refusal.status, refused(refusal)
    outcome = sessions.Outcome(
        status=status,
        asm_status=received.asm_status,
        client_error=received.client_error,
        authenticators=tuple(StatusAuthenticator(key.aaid, key.key_id) for key in keys),
    )
    await sessions.finish(transaction, issued.id, outcome, now=now)
    await audit.record(
        transaction,
        now=now,
        event="registration",
        outcome=status,
        username=issued.username,
        aaid=keys[0].aaid if keys else None,
        key_id=keys[0].key_id if keys else None,
        session_id=issued.id,
        address=address,
        requested_from=issued.requested_from,
    )
    return answer


async def _register(
    environment: Environment, transaction: Transaction, received: Received, issued: IssuedRequest, *, now: int
) -> tuple[RegisteredKey, ...]:
    keys = verify_registration_response(
        received.response,
        expected=expected_of(environment, issued),
        policy=issued_policy(issued.policy),
        metadata=environment.metadata.get,
        # The database decides: storing a key that is there already changes nothing and is refused below.
        already_registered=(),
        at=datetime.fromtimestamp(now / 1000, UTC),
    )
    if issued.username is None or not await accounts.is_active(transaction, issued.username):
        raise UafRefusal(StatusCode.FORBIDDEN, "the user is disabled")
    for key in keys:
        stored = await transaction.fetch_one(
            queries.ADD_CREDENTIAL,
            aaid=key.aaid,
            key_id=key.key_id,
            app_id=environment.config.app_id,
            username=issued.username,
            public_key=key.public_key,
            public_key_format=key.public_key_format,
            signature_algorithm=key.signature_algorithm,
            authenticator_version=key.authenticator_version,
            sign_counter=key.sign_counter,
            registration_counter=key.registration_counter,
            attestation_type=key.attestation_type,
            now=now,
        )
        if stored is None:
            raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "this KeyID is registered already")
    return keys


async def _add_target(
    environment: Environment, transaction: Transaction, received: Received, issued: IssuedRequest, *, now: int
) -> str:
    """Make the target; whatever is wrong with it, the registration is refused with it (HTTP contract 3)."""
    try:
        where = "context.dispatchTarget"
        new = strictjson.convert(received.context.dispatchTarget, NewDispatchTarget, where)
        return await add_target(environment, transaction, str(issued.username), new, now=now)
    except (MalformedError, TargetRefusal) as error:
        raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, f"dispatchTarget: {error}") from None
