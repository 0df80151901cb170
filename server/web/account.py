"""Services of the account page: who is logged in and by what, deleting keys, and logging out."""

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import ShortText
from fidoloop.protocol.uaf.metadata import MetadataStatement
from fidoloop.protocol.uaf.registry import KeyProtection, UserVerification
from fidoloop.server.deregistration import remove_key
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.store import queries
from fidoloop.server.store.rows import Credential
from fidoloop.server.web import cookies, logged_in
from fidoloop.server.web.devices import Device, devices_of


class KeyShown(msgspec.Struct, frozen=True):
    """A registered key: its model as metadata describes it, its counter; `current` did this log-in.

    Times are epoch milliseconds. Protection and verification are what the model's metadata statement claims.
    """

    aaid: str
    keyId: str
    description: str
    keyProtection: tuple[str, ...]
    userVerification: tuple[str, ...]
    counter: int
    registeredAt: int
    lastUsedAt: int | None
    current: bool


class NamedKey(msgspec.Struct, frozen=True):
    """Which of the user's keys is meant."""

    aaid: ShortText
    keyId: ShortText


class Account(msgspec.Struct, frozen=True):
    """Who is logged in, since and until when (epoch milliseconds), the user's keys and devices."""

    username: str
    since: int
    until: int
    keys: tuple[KeyShown, ...]
    devices: tuple[Device, ...]


async def show(environment: Environment, request: Request) -> Response:
    """Answer with the account of the browser's log-in."""
    login = await logged_in.require(environment, request)
    environment.metadata.refresh(environment.clock())
    app_id = environment.config.app_id
    keys = await environment.store.fetch_all(queries.CREDENTIALS_OF, username=login.username, app_id=app_id)
    current = (login.aaid, login.key_id)
    shown = tuple(shown_key(environment, key, current=(key.aaid, key.key_id) == current) for key in keys)
    devices = await devices_of(environment, environment.store, login.username)
    return json_response(Account(login.username, login.created_at, login.expires_at, shown, devices))


async def remove(environment: Environment, request: Request) -> Response:
    """Delete a key of the user who is logged in; where it did this log-in, that is over too."""
    login = await logged_in.require(environment, request)
    named = strictjson.decode(request.body, NamedKey)
    async with environment.store.transaction() as transaction:
        owned = await transaction.fetch_all(
            queries.CREDENTIALS_OF, username=login.username, app_id=environment.config.app_id
        )
        found = next((key for key in owned if (key.aaid, key.key_id) == (named.aaid, named.keyId)), None)
        if found is None:
            raise HttpProblem(404, "you have no such key")
        await remove_key(transaction, found, now=environment.clock(), requested_from=request.address)
    return Response(204)


async def log_out(environment: Environment, request: Request) -> Response:
    """Forget the log-in; the browser stays remembered if it was."""
    async with environment.store.transaction() as transaction:
        await logged_in.forget(transaction, request)
    return Response(204, headers=(cookies.remove_cookie(cookies.LOGIN),))


def shown_key(environment: Environment, key: Credential, *, current: bool = False) -> KeyShown:
    """Return a key as pages show it."""
    entry = environment.metadata.get(key.aaid)
    statement = None if entry is None else entry.statement
    return KeyShown(
        key.aaid,
        key.key_id,
        "" if statement is None else statement.description,
        () if statement is None else _names(KeyProtection(statement.keyProtection)),
        () if statement is None else _verification(statement),
        key.sign_counter,
        key.created_at,
        key.last_used_at,
        current,
    )


def _verification(statement: MetadataStatement) -> tuple[str, ...]:
    methods = (method.userVerification for group in statement.userVerificationDetails for method in group)
    return tuple(dict.fromkeys(name for method in methods for name in _names(UserVerification(method))))


def _names(flags: KeyProtection | UserVerification) -> tuple[str, ...]:
    return tuple(str(flag.name).lower().replace("_", " ") for flag in flags)
