"""Health: whether the server can do its work, which is whether its store answers."""

from typing import Literal

import msgspec

from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response, json_response
from fidoloop.server.store import queries


class Health(msgspec.Struct, frozen=True):
    """Answer of the health service."""

    status: Literal["ok"]


async def serve(environment: Environment, request: Request) -> Response:
    """Answer {"status": "ok"}; a store that fails makes it an internal error."""
    await environment.store.fetch_one(queries.SETTING, name="base_url")
    return json_response(Health("ok"))
