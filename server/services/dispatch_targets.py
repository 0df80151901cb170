"""Dispatch Target Service: create, query, modify, delete (HTTP contract 6)."""

from typing import Final
from urllib.parse import parse_qs

from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.outofband import (
    CreateDispatchTarget,
    DispatchTargetCreated,
    DispatchTargetEntry,
    DispatchTargetList,
    ModifyDispatchTarget,
)
from fidoloop.server import accounts
from fidoloop.server.device_signatures import read_device_signature, read_signed, use_request
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.store import queries
from fidoloop.server.targets import TargetRefusal, add_target, modify_target, remove_target

MAX_QUERY_FIELDS: Final = 8


def no_user() -> HttpProblem:
    """Return the refusal of an unknown or disabled user."""
    return HttpProblem(403, "no such user")


async def create(environment: Environment, request: Request) -> Response:
    """201 {"id"}; 403 unknown user; 422 name taken, dispatcher not configured or address not allowed."""
    new = strictjson.decode(request.body, CreateDispatchTarget)
    async with environment.store.transaction() as transaction:
        if not await accounts.is_active(transaction, new.username):
            raise no_user()
        try:
            made = await add_target(environment, transaction, new.username, new, now=environment.clock())
        except TargetRefusal as refusal:
            raise HttpProblem(422, str(refusal)) from None
    return json_response(DispatchTargetCreated(made), 201)


async def query(environment: Environment, request: Request) -> Response:
    """200 with the user's targets; 400 no username; 403 unknown user; 404 none."""
    try:
        names = parse_qs(
            request.query.decode("utf-8"), strict_parsing=bool(request.query), max_num_fields=MAX_QUERY_FIELDS
        ).get("username", [])
    except ValueError:
        names = []
    if len(names) != 1:
        raise HttpProblem(400, "the query needs exactly one username")
    async with environment.store.transaction() as transaction:
        if not await accounts.is_active(transaction, names[0]):
            raise no_user()
        found = await transaction.fetch_all(queries.TARGETS_OF, username=names[0])
    if not found:
        raise HttpProblem(404, "the user has no dispatch target")
    entries = [
        DispatchTargetEntry(target.name, target.id, UNSET if target.dispatcher is None else target.dispatcher)
        for target in found
    ]
    return json_response(DispatchTargetList(tuple(entries)))


async def modify(environment: Environment, request: Request) -> Response:
    """204; the JWS by the target's signature key is the whole authorisation. 422 as for create."""
    try:
        token = request.body.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("$", "not a compact JWS") from None
    refusal: TargetRefusal | MalformedError | None = None
    async with environment.store.transaction() as transaction:
        change, target = await read_signed(transaction, request.identifier, token, ModifyDispatchTarget)
        if change.name is UNSET and change.target is UNSET and change.dispatcher is UNSET:
            raise HttpProblem(400, "nothing to change")
        await use_request(environment, transaction, change, target)
        try:
            await modify_target(environment, transaction, target, change, now=environment.clock())
        except (TargetRefusal, MalformedError) as error:
            # Left without an exception: the requestId is used up, whatever came of it.
            refusal = error
    if isinstance(refusal, MalformedError):
        raise refusal
    if refusal is not None:
        raise HttpProblem(422, str(refusal))
    return Response(204)


async def delete(environment: Environment, request: Request) -> Response:
    """204; the JWS in Device-Signature names this very request."""
    async with environment.store.transaction() as transaction:
        order, target = await read_device_signature(environment, transaction, request, request.identifier)
        await use_request(environment, transaction, order, target)
        await remove_target(transaction, target.id, now=environment.clock())
    return Response(204)
