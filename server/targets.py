"""Dispatch targets: made and changed under the rules of HTTP contract 6."""

from msgspec import UNSET

from fidoloop.protocol.jose import parse_public_jwk
from fidoloop.protocol.outofband import ModifyDispatchTarget, NewDispatchTarget
from fidoloop.server import sessions
from fidoloop.server.environment import Environment
from fidoloop.server.errors import ConflictError
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction


class TargetRefusal(Exception):
    """The target cannot be made or changed so: its name is taken, or its dispatcher is not configured."""


async def add_target(
    environment: Environment, transaction: Transaction, username: str, new: NewDispatchTarget, *, now: int
) -> str:
    """Store a dispatch target of `username` and return its id.

    Raises:
        MalformedError: a key is no acceptable public JWK.
        TargetRefusal: the name is taken, or the dispatcher is not configured.
    """
    signature_key = parse_public_jwk(new.signatureKey, "$.signatureKey")
    encryption_key = parse_public_jwk(new.encryptionKey, "$.encryptionKey")
    _check_dispatcher(environment, new.dispatcher or None)
    made = await transaction.fetch_one(
        queries.ADD_TARGET,
        id=sessions.new_id(),
        username=username,
        name=new.name,
        device_id=None if new.deviceId is UNSET else new.deviceId,
        dispatcher=None if new.dispatcher is UNSET else new.dispatcher,
        target=None if new.target is UNSET else new.target,
        signature_key=signature_key.to_json(),
        encryption_key=encryption_key.to_json(),
        now=now,
    )
    if made is None:
        raise TargetRefusal("the user has a dispatch target of this name")
    return made.value


async def modify_target(
    environment: Environment, transaction: Transaction, target_id: str, change: ModifyDispatchTarget, *, now: int
) -> None:
    """Change what `change` names. Raises TargetRefusal, with nothing changed."""
    _check_dispatcher(environment, change.dispatcher or None)
    try:
        async with transaction.savepoint():
            await transaction.fetch_one(
                queries.MODIFY_TARGET,
                id=target_id,
                name=None if change.name is UNSET else change.name,
                target=None if change.target is UNSET else change.target,
                dispatcher=None if change.dispatcher is UNSET else change.dispatcher,
                now=now,
            )
    except ConflictError:
        raise TargetRefusal("the user has a dispatch target of this name") from None


async def remove_target(transaction: Transaction, target_id: str, *, now: int) -> bool:
    """Delete a target and end what is open for it; tell whether it was there."""
    removed = await transaction.fetch_one(queries.DELETE_TARGET, id=target_id)
    if removed is not None:
        await sessions.fail_open_sessions(transaction, now=now, target_id=target_id)
    return removed is not None


def _check_dispatcher(environment: Environment, name: str | None) -> None:
    if name is not None and name not in environment.config.dispatchers:
        raise TargetRefusal("the dispatcher is not configured")
