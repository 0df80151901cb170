"""Health: whether the server can do its work, and whether more of it should be sent here."""

from typing import Literal

import msgspec

from fidoloop.server.environment import Environment
from fidoloop.server.errors import StoreError
from fidoloop.server.http.messages import HttpProblem, Request, Response, json_response
from fidoloop.server.store import queries
from fidoloop.server.store.schema import is_current


class Health(msgspec.Struct, frozen=True):
    """Answer of the health service."""

    status: Literal["ok"]


async def serve(environment: Environment, request: Request) -> Response:
    """Answer {"status": "ok"}; 503 where the store fails."""
    await environment.store.fetch_one(queries.SETTING, name="base_url")
    return json_response(Health("ok"))


class Readiness(msgspec.Struct, frozen=True):
    """Answer of the readiness service."""

    status: Literal["ready"]


async def serve_readiness(environment: Environment, request: Request) -> Response:
    """Answer {"status": "ready"}, or 503: about to stop, a store that fails, or tables of another version."""
    if environment.changes.leaving:
        raise HttpProblem(503, "the server is about to stop")
    try:
        current = await is_current(environment.store)
    except StoreError:
        environment.metrics.store_errors += 1
        raise HttpProblem(503, "the database does not answer") from None
    if not current:
        raise HttpProblem(503, "the database's tables are of another version")
    return json_response(Readiness("ready"))
