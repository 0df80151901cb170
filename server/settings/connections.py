"""The settings of what a worker takes from whoever connects to it."""

from typing import Annotated

import msgspec
from msgspec import Meta


def _seconds(description: str) -> Meta:
    return Meta(ge=1, le=3600, description=description, extra={"unit": "seconds"})


class ConnectionSettings(msgspec.Struct, frozen=True):
    """`[server.connections]` of the file."""

    most: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="So many connections each worker has at once, as far as it may have so many files open. For one"
            " more, that which has asked for nothing for the longest is closed; where all have requests, the new one is"
            " answered 503.",
        ),
    ] = 10_000
    head_seconds: Annotated[int, _seconds("A TLS handshake, and then the head of a request, have so long to come.")] = (
        10
    )
    body_seconds: Annotated[
        int, _seconds("The body of a request has so long to come, and an answer to be read, after that.")
    ] = 30
    idle_seconds: Annotated[
        int,
        _seconds(
            "After an answer a connection is kept so long for the next request; longer than a proxy before it"
            " keeps its own."
        ),
    ] = 5
