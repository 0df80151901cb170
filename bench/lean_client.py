"""An HTTP/1.1 client with nothing to spare: it shares the machine with the server, which is what is measured."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import cast

UAF = "application/fido+uaf"
_LENGTH = b"content-length: "


def head(path: str, *, media: str = UAF, accept: str = UAF) -> bytes:
    """Return the head of a POST up to the value of its Content-Length."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media};charset=UTF-8\r\nAccept: {accept}\r\n"
        "Content-Length: "
    ).encode()


class Connection(asyncio.Protocol):
    """A keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to the loopback."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio.Protocol)."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own
        self._loop = asyncio.get_running_loop()

    def post(self, head_: bytes, body: bytes) -> "asyncio.Future[bytes]":
        """POST; the answer's body. Any status but 200 is an error."""
        self._transport.write(b"%b%d\r\n\r\n%b" % (head_, len(body), body))
        self._answer = self._loop.create_future()
        return self._answer

    def data_received(self, data: bytes) -> None:
        """Take in an answer (asyncio.Protocol)."""
        received = self._received = self._received + data
        end = received.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        if not received.startswith(b"HTTP/1.1 200"):
            self._answer.set_exception(RuntimeError(repr(received[:400])))
            return
        start = received.index(_LENGTH) + len(_LENGTH)
        length = int(received[start : received.index(b"\r", start)])
        if len(received) == end + 4 + length:
            self._received = b""
            self._answer.set_result(received[end + 4 :])

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits (asyncio.Protocol)."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        """Close it."""
        self._transport.close()


async def rate_of(work: list[Callable[[], Awaitable[object]]], seconds: float) -> float:
    """Return how often a second the workers, one a connection, get round together."""
    started = perf_counter()
    deadline = started + seconds

    async def loop(once: Callable[[], Awaitable[object]]) -> int:
        count = 0
        while perf_counter() < deadline:
            await once()
            count += 1
        return count

    counts = await asyncio.gather(*(loop(once) for once in work))
    return sum(counts) / (perf_counter() - started)
