"""What a ServerResponse says in `description`, a JSON text of the server's (HTTP contract 2, 3 and 8)."""

from typing import Any

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.messages import ServerResponse


class Described(msgspec.Struct, frozen=True):
    """An answer to a response; `tries_left`: how often channelLinkingResponse may still be wrong, 0 if never again."""

    status: int
    message: str
    target_id: str | None
    tries_left: int


def read_described(response: ServerResponse) -> Described:
    """Return what `response` says; what cannot be read in it is left out."""
    try:
        members = strictjson.loads(response.description or "{}")
    except MalformedError:
        members = {}
    if not isinstance(members, dict):
        members = {}
    return Described(
        response.statusCode,
        str(members.get("message", "")),
        _typed(members.get("dispatchTargetId"), str),
        _typed(members.get("triesLeft"), int) or 0,
    )


def _typed(value: Any, type_: Any) -> Any:  # noqa: ANN401 - a member of JSON
    return value if type(value) is type_ else None
