"""POSTs to push services: no redirects, no cookies, no proxy, and no more of an answer than is needed."""

import asyncio
import ssl
from dataclasses import dataclass

import httpcore2

MAX_ANSWER_BYTES = 16384
MAX_CONNECTIONS = 100
KEEP_ALIVE_SECONDS = 30.0
_FAILURES = (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, TimeoutError)


class UnreachableError(Exception):
    """A push service did not answer: not connected, not trusted, out of time, or no HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A push service's answer; header names are lower case, the body is cut at 16 KiB."""

    status: int
    headers: dict[str, str]
    body: bytes


class PushClient:
    """Connections that are kept, to any number of push services. For one event loop."""

    def __init__(self, tls: ssl.SSLContext, network: httpcore2.AsyncNetworkBackend | None = None) -> None:
        """Take what to trust, and how to connect."""
        # The pool walks through all that wait for a connection at every step: many wait here instead.
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=network,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def post(self, url: str, headers: dict[str, str], content: bytes, *, seconds: float) -> Answer:
        """POST, and return the answer whatever its status, within `seconds`.

        Raises:
            UnreachableError: there is none.
            AddressRefusedError: where the network says so.
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self._room,
                self._pool.stream("POST", url, headers=list(headers.items()), content=content) as response,
            ):
                return Answer(response.status, _texts(response.headers), await _beginning(response))
        except _FAILURES as error:
            # Its own words may hold the URL, which is a secret of the subscription.
            raise UnreachableError(type(error).__name__) from None


def _texts(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


async def _beginning(response: httpcore2.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            break
    return body[:MAX_ANSWER_BYTES]
