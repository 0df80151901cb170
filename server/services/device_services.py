"""Device services: what a dispatch target may know of its user and of itself (HTTP contract 6).

A deviceId is chosen by its device and proves nothing: the signature says who asks, the answer is encrypted to him.
"""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.outofband import (
    DeviceCredential,
    DeviceCredentials,
    DispatchTargetEntry,
    PendingOperation,
    PendingOperations,
    decode_payload,
)
from fidoloop.server import accounts
from fidoloop.server.contexts import OPERATIONS
from fidoloop.server.device_signatures import named_target, read_device_signature, use_request
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import JOSE, HttpProblem, Request, Response
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.rows import Target

MAX_LISTED_CHARACTERS = 20_000
"""So much is listed at once, the newest first: encrypted, it fits into what devices read of a JWE."""
_NAMES = {op: name for name, op in OPERATIONS.items()}
E = TypeVar("E", bound=msgspec.Struct)


async def credentials(environment: Environment, request: Request) -> Response:
    """200 with the target as it stands here and its user's keys; 401 signature; 403 user; 404 target or device."""
    async with environment.store.transaction() as transaction:
        target = await _asking(environment, transaction, request)
        found = await accounts.credentials_of(environment, transaction, target.username)
    listed, more = _newest(DeviceCredential(key.aaid, key.key_id, key.created_at) for key in reversed(found))
    entry = DispatchTargetEntry(target.name, target.id, target.dispatcher or msgspec.UNSET)
    return _encrypted(DeviceCredentials(target.username, entry, listed, more), target)


async def operations(environment: Environment, request: Request) -> Response:
    """200 with what was dispatched to the target, has not expired and was not redeemed; else as `credentials`."""
    async with environment.store.transaction() as transaction:
        target = await _asking(environment, transaction, request)
        found = await transaction.fetch_all(queries.PENDING_PAYLOADS, target_id=target.id, now=environment.clock())
    listed, more = _newest(
        PendingOperation(_NAMES[each.op], each.token_expires_at, decode_payload(each.payload)) for each in found
    )
    return _encrypted(PendingOperations(listed, more), target)


async def _asking(environment: Environment, transaction: Transaction, request: Request) -> Target:
    """Return the target whose signature the request bears, having used the signature up."""
    order, target = await read_device_signature(environment, transaction, request, named_target(request))
    if target.device_id is None or target.device_id != request.identifier:
        raise HttpProblem(404, "the dispatch target is not of this device")
    if not await accounts.is_active(transaction, target.username):
        raise HttpProblem(403, "the user is disabled")
    await use_request(environment, transaction, order, target)
    await transaction.execute(queries.TOUCH_TARGET, id=target.id, now=environment.clock())
    return target


def _newest(entries: Iterable[E]) -> tuple[tuple[E, ...], bool]:
    """Return as many entries as fit into an answer, and whether there are more."""
    listed: list[E] = []
    left = MAX_LISTED_CHARACTERS
    more = False
    for entry in entries:
        size = len(strictjson.encode(entry))
        if size > left:
            more = True
            continue
        left -= size
        listed.append(entry)
    return tuple(listed), more


def _encrypted(answer: msgspec.Struct, target: Target) -> Response:
    text = strictjson.encode(answer).encode("utf-8")
    token = jose.encrypt_compact(text, jose.parse_public_jwk(target.encryption_key))
    return Response(200, token.encode("ascii"), f"{JOSE};charset=UTF-8")
