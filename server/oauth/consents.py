"""What people allowed apps: written down, shown to them, withdrawn (HTTP contract 11; RFC 6749 section 10.2)."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.outofband import ShortText
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server import audit
from fidoloop.server.environment import Environment
from fidoloop.server.errors import NotFoundError
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Store, Transaction
from fidoloop.server.store.oauth_rows import LiveGrant
from fidoloop.server.web import logged_in

APPS: Final = "/web/apps"
WITHDRAW: Final = "/web/apps/withdraw"


class AppShown(msgspec.Struct, frozen=True):
    """An app that may act for the user: one client, which is one device. Its name is its own word.

    `device` is what it proved to be when it registered. Times are epoch milliseconds; it may until `until` if it is
    not used again before.
    """

    client: str
    name: str
    device: str
    scopes: tuple[str, ...]
    since: int
    lastUsedAt: int
    until: int


class AppList(msgspec.Struct, frozen=True):
    """The apps that may act for a user."""

    apps: tuple[AppShown, ...]


class NamedApp(msgspec.Struct, frozen=True):
    """Which app is meant."""

    client: ShortText


async def listed(environment: Environment, request: Request) -> Response:
    """Answer with the apps that may act for the user who is logged in."""
    login = await logged_in.require(environment, request)
    grants = await environment.store.fetch_all(
        oauth_queries.GRANTS_OF, username=login.username, now=environment.clock()
    )
    return json_response(AppList(tuple(_apps(grants))))


async def withdraw(environment: Environment, request: Request) -> Response:
    """Take back all that the user who is logged in allowed an app."""
    login = await logged_in.require(environment, request)
    client_id = strictjson.decode(request.body, NamedApp).client
    now = environment.clock()
    async with environment.store.transaction() as transaction:
        if not await transaction.execute(
            oauth_queries.REVOKE_GRANTS_TO, username=login.username, client_id=client_id, now=now
        ):
            raise HttpProblem(404, "no such app may act for you")
        await record(transaction, "consent-withdrawn", login.username, client_id, now=now, address=request.address)
    return Response(204)


async def list_grants(store: Store, username: str | None, *, now: int) -> list[LiveGrant]:
    """Return what is allowed and has not ended, of one user or of all, for an operator."""
    if username is None:
        return await store.fetch_all(oauth_queries.GRANTS, now=now)
    return await store.fetch_all(oauth_queries.GRANTS_OF, username=username, now=now)


async def revoke_by_operator(store: Store, grant_id: str, *, now: int) -> str:
    """Revoke a grant and return whose it was. Raises NotFoundError."""
    async with store.transaction() as transaction:
        found = await transaction.fetch_one(oauth_queries.REVOKE_GRANT, id=grant_id, now=now)
        if found is None:
            raise NotFoundError("no such grant")
        await record(
            transaction, "consent-withdrawn", found.username, found.client_id, now=now, requested_from="operator"
        )
    return found.username


async def record(
    transaction: Transaction,
    event: str,
    username: str | None,
    client_id: str,
    *,
    now: int,
    outcome: StatusCode = StatusCode.OK,
    address: str | None = None,
    requested_from: str | None = None,
) -> None:
    """Write down what happened to what a user allowed, or would not allow, an app."""
    await audit.record(
        transaction,
        now=now,
        event=event,
        outcome=outcome,
        username=username,
        client_id=client_id,
        address=address,
        requested_from=requested_from,
    )


async def end_grant(transaction: Transaction, grant_id: str, event: str, *, now: int, request: Request) -> None:
    """Revoke a grant, whose codes and tokens are worth nothing from then on, and write down why, if it is not yet."""
    found = await transaction.fetch_one(oauth_queries.REVOKE_GRANT, id=grant_id, now=now)
    if found is not None:
        await record(transaction, event, found.username, found.client_id, now=now, address=request.address)


def device_in(record_of_device: str) -> str:
    """Return what a device proved to be, in words: the kind of its evidence, whether attested, its firmware."""
    device: dict[str, Any] = strictjson.loads(record_of_device)
    words = [str(device.get("evidence_type", "")), str(device.get("tier", ""))]
    version = device.get("swversion")
    if version:
        words.append(f"firmware {version[0]}")
    return ", ".join(word for word in words if word)


def _apps(grants: Iterable[LiveGrant]) -> list[AppShown]:
    """Return the apps of a user's grants, that first which was used last."""
    by_client: dict[str, list[LiveGrant]] = {}
    for grant in grants:
        by_client.setdefault(grant.client_id, []).append(grant)
    found = [_app(group) for group in by_client.values()]
    return sorted(found, key=lambda app: app.lastUsedAt, reverse=True)


def _app(grants: list[LiveGrant]) -> AppShown:
    name = strictjson.loads(grants[0].metadata).get("client_name", "")
    return AppShown(
        client=grants[0].client_id,
        name=str(name),
        device=device_in(grants[0].device),
        scopes=tuple(dict.fromkeys(scope for grant in grants for scope in grant.scope.split())),
        since=min(grant.created_at for grant in grants),
        lastUsedAt=max(grant.last_used_at for grant in grants),
        until=max(grant.until for grant in grants),
    )
