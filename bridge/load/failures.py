"""What can go wrong with a request of a simulated phone, told apart by kind."""

import asyncio
import ssl

from fidoloop.bridge.errors import BridgeError

REFUSED = "connection refused"
LOST = "connection lost"
TIME_OUT = "time-out"
TLS = "TLS"
UNREADABLE = "unreadable answer"
NETWORK_KINDS = frozenset({REFUSED, LOST, TIME_OUT, TLS})
"""Kinds in which no answer came; all others are answers of the server."""


class Failure(BridgeError):
    """A request that did not do what it was for; errors are counted by `kind`, `step` is the service that was asked."""

    code = "load"

    def __init__(self, kind: str, detail: str = "", *, step: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.step = step


def connecting_failed(error: Exception) -> Failure:
    """Return the failure of a connection that could not be made."""
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return Failure(TIME_OUT, "connecting")
    if isinstance(error, ConnectionRefusedError):
        return Failure(REFUSED, str(error))
    if isinstance(error, ssl.SSLError):
        return Failure(TLS, str(error))
    return Failure(LOST, str(error) or type(error).__name__)
