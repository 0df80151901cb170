"""The devices of users who had this browser remembered; nobody else's are shown (HTTP contract 11)."""

from collections.abc import Sequence

import msgspec

from fidoloop.server import accounts
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.store import queries, web_queries
from fidoloop.server.store.base import Statements, Transaction
from fidoloop.server.store.rows import Target
from fidoloop.server.web import cookies


class Device(msgspec.Struct, frozen=True):
    """A dispatch target; `push`: it can be asked, otherwise a code is shown for it alone."""

    id: str
    name: str
    push: bool


class KnownUser(msgspec.Struct, frozen=True):
    """A user who had the browser remembered."""

    username: str
    devices: tuple[Device, ...]


class KnownUsers(msgspec.Struct, frozen=True):
    """Answer of the devices service."""

    users: tuple[KnownUser, ...]


async def listed(environment: Environment, request: Request) -> Response:
    """Answer with the browser's users and their devices: none where it is not remembered."""
    async with environment.store.transaction() as transaction:
        users = [
            KnownUser(name, await devices_of(environment, transaction, name))
            for name in await _known_users(environment, transaction, request)
        ]
    return json_response(KnownUsers(tuple(users)))


async def find(environment: Environment, request: Request, device_id: str) -> Target:
    """Return a device of a user of this browser. Raises HttpProblem 404, the same whether there is one elsewhere."""
    async with environment.store.transaction() as transaction:
        return await find_of(transaction, device_id, await _known_users(environment, transaction, request))


async def find_of(statements: Statements, device_id: str, usernames: Sequence[str]) -> Target:
    """Return a device of one of `usernames`. Raises HttpProblem 404, the same whether there is one elsewhere."""
    found = await statements.fetch_one(queries.TARGET, id=device_id)
    if found is None or found.username not in usernames:
        raise HttpProblem(404, "this browser knows no such device")
    return found


async def devices_of(environment: Environment, statements: Statements, username: str) -> tuple[Device, ...]:
    """Return a user's devices."""
    found = await statements.fetch_all(queries.TARGETS_OF, username=username)
    return tuple(Device(target.id, target.name, is_pushed_to(environment, target)) for target in found)


async def default_device(environment: Environment, username: str) -> Target | None:
    """Return the device of an active user that a push reaches: of several, the one used last."""
    async with environment.store.transaction() as transaction:
        if not await accounts.is_active(transaction, username):
            return None
        found = await transaction.fetch_all(queries.TARGETS_OF, username=username)
    return max((target for target in found if is_pushed_to(environment, target)), key=_last_use, default=None)


async def forget(environment: Environment, request: Request) -> Response:
    """Forget the browser for all its users."""
    cookie_hash = cookies.read_digest(request, cookies.BROWSER)
    await environment.store.execute(web_queries.FORGET_BROWSER, cookie_hash=cookie_hash)
    return Response(204, headers=(cookies.remove_cookie(cookies.BROWSER),))


def is_pushed_to(environment: Environment, target: Target) -> bool:
    """Tell whether the target's own dispatcher reaches it without anybody's help, as far as is known."""
    dispatcher = environment.dispatchers.get(target.dispatcher or "")
    reached = dispatcher is not None and dispatcher.needs_address
    return reached and target.target is not None and target.expired_at is None


async def _known_users(environment: Environment, transaction: Transaction, request: Request) -> list[str]:
    cookie_hash, now = cookies.read_digest(request, cookies.BROWSER), environment.clock()
    found = await transaction.fetch_all(web_queries.REMEMBERED, cookie_hash=cookie_hash, now=now)
    return [row.value for row in found]


def _last_use(target: Target) -> int:
    return target.last_used_at
