"""Dispatch targets: made and changed under the rules of HTTP contract 6."""

from msgspec import UNSET

from fidoloop.protocol.jose import parse_public_jwk
from fidoloop.protocol.outofband import ModifyDispatchTarget, NewDispatchTarget
from fidoloop.server import sessions
from fidoloop.server.dispatchers.base import AddressError
from fidoloop.server.environment import Environment
from fidoloop.server.errors import ConflictError
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import Target


class TargetRefusal(Exception):
    """A target cannot be so: its name is taken, its dispatcher not configured, or its address not allowed."""


async def add_target(
    environment: Environment, transaction: Transaction, username: str, new: NewDispatchTarget, *, now: int
) -> str:
    """Store a dispatch target of `username` and return its id.

    Raises:
        MalformedError: a key is no acceptable public JWK, or the address none of the dispatcher's.
        TargetRefusal: the name is taken, the dispatcher is not configured, or the address not allowed.
    """
    signature_key = parse_public_jwk(new.signatureKey, "$.signatureKey")
    encryption_key = parse_public_jwk(new.encryptionKey, "$.encryptionKey")
    _check_delivery(environment, new.dispatcher or None, new.target or None)
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
    environment: Environment, transaction: Transaction, target: Target, change: ModifyDispatchTarget, *, now: int
) -> None:
    """Change what `change` names; a new address is not expired. Raises as `add_target`, with nothing changed."""
    if change.dispatcher is not UNSET or change.target is not UNSET:
        dispatcher = target.dispatcher if change.dispatcher is UNSET else change.dispatcher
        address = target.target if change.target is UNSET else change.target
        _check_delivery(environment, dispatcher, address or None)
    try:
        async with transaction.savepoint():
            await transaction.fetch_one(
                queries.MODIFY_TARGET,
                id=target.id,
                name=None if change.name is UNSET else change.name,
                target=None if change.target is UNSET else change.target,
                dispatcher=None if change.dispatcher is UNSET else change.dispatcher,
                now=now,
            )
    except ConflictError:
        raise TargetRefusal("the user has a dispatch target of this name") from None


async def remove_target(transaction: Transaction, target_id: str, *, now: int) -> bool:
    """Delete a target and end what is open for it; tell whether it was there."""
    owner = await transaction.fetch_one(queries.DELETE_TARGET, id=target_id)
    if owner is not None:
        await sessions.fail_open_sessions(transaction, owner.value, now=now, target_id=target_id)
    return owner is not None


async def expire_target(transaction: Transaction, target: Target, *, now: int, remove: bool) -> None:
    """Note that a target's address is gone, or `remove` the target with it, unless the phone has changed it since."""
    expired = await transaction.execute(queries.EXPIRE_TARGET, id=target.id, target=target.target, now=now)
    if expired and remove:
        await remove_target(transaction, target.id, now=now)


def _check_delivery(environment: Environment, name: str | None, address: str | None) -> None:
    if name is None:
        return
    dispatcher = environment.dispatchers.get(name)
    if dispatcher is None:
        raise TargetRefusal("the dispatcher is not configured")
    if not dispatcher.needs_address:
        return
    if address is None:
        raise TargetRefusal(f"a target of {name} needs its address in `target`")
    try:
        dispatcher.check_address(address)
    except AddressError as error:
        raise TargetRefusal(str(error)) from None
