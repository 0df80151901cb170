"""Registration Response Service (HTTP contract 3; UAF protocol 3.4.6.5)."""

from datetime import UTC, datetime

from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import NewDispatchTarget, StatusAuthenticator
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_registration_response import RegisteredKey, verify_registration_response
from fidoloop.server import accounts
from fidoloop.server.environment import Environment
from fidoloop.server.http.dispatch import uaf_response
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import IssuedRequest
from fidoloop.server.targets import TargetRefusal, add_target
from fidoloop.server.uaf_responses import (
    Ending,
    Received,
    completed,
    conclude,
    expected_of,
    find_request,
    issued_policy,
    read_response,
    refusal_ending,
    user_disabled,
)

EVENT = "registration"


async def serve(environment: Environment, request: Request) -> Response:
    """Verify a response and store its keys, and the dispatch target beside it, in one transaction."""
    received = read_response(request)
    now = environment.clock()
    environment.metadata.refresh(now)
    async with environment.store.transaction() as transaction:
        issued = await find_request(transaction, "Reg", received, now=now)
        try:
            keys = verify_registration_response(
                received.response,
                expected=expected_of(environment, issued, received, now),
                policy=issued_policy(issued.policy),
                metadata=environment.metadata.get,
                # The database decides: storing a key that is there already changes nothing and is refused below.
                already_registered=(),
                at=datetime.fromtimestamp(now / 1000, UTC),
                require_key_attestation=environment.config.require_key_attestation,
            )
            ending = await _store_all(environment, transaction, received, issued, keys, now=now)
        except UafRefusal as refusal:
            ending = refusal_ending(refusal, issued)
        await conclude(transaction, received, issued, ending, now=now, event=EVENT, address=request.address)
    environment.changes.announce(issued.id)
    environment.metrics.operations[EVENT, ending.status] += 1
    return uaf_response(ending.answer)


async def _store_all(
    environment: Environment,
    transaction: Transaction,
    received: Received,
    issued: IssuedRequest,
    keys: tuple[RegisteredKey, ...],
    *,
    now: int,
) -> Ending:
    """Store keys and target, or nothing where one of them cannot be. Raises UafRefusal."""
    members: dict[str, str] = {}
    async with transaction.savepoint():
        await _add_keys(environment, transaction, issued, keys, now=now)
        if received.context.dispatchTarget is not UNSET:
            target = await _add_target(environment, transaction, received, issued, now=now)
            await transaction.execute(queries.SET_SESSION_TARGET, id=issued.id, target_id=target)
            members["dispatchTargetId"] = target
    taken = tuple(StatusAuthenticator(key.aaid, key.key_id) for key in keys)
    return Ending(status=StatusCode.OK, answer=completed(**members), username=issued.username, keys=taken)


async def _add_keys(
    environment: Environment,
    transaction: Transaction,
    issued: IssuedRequest,
    keys: tuple[RegisteredKey, ...],
    *,
    now: int,
) -> None:
    if issued.username is None or not await accounts.is_active(transaction, issued.username):
        raise user_disabled()
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
            key_attested=int(key.key_attested),
            display_characteristics=_json(key.display_characteristics),
            verification_methods=_json(key.methods),
            now=now,
        )
        if stored is None:
            raise UafRefusal(StatusCode.UNACCEPTABLE_CONTENT, "this KeyID is registered already")


def _json(values: tuple[object, ...]) -> str | None:
    """Return a JSON array, None where there is nothing to say."""
    return strictjson.encode(values) if values else None


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
