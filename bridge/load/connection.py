"""HTTP/1.1 with nothing to spare, over TLS or without: who makes load shares a machine with what is measured."""

import asyncio
import ssl
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, Self, cast
from urllib.parse import urlsplit

import httptools

from fidoloop.bridge.errors import NetworkError
from fidoloop.bridge.http import KEEP_ALIVE_SECONDS, MAX_ANSWER_BYTES, is_https, is_loopback_http
from fidoloop.bridge.load.failures import LOST, TIME_OUT, UNREADABLE, Failure, connecting_failed

_OK = 200
_REDIRECTION = 300


class Endpoint(NamedTuple):
    """Where a server listens; `authority` is what its URL says (RFC 3986 3.2)."""

    host: str
    port: int
    authority: str
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, base_url: str, *, ca: Path | None = None, insecure: bool = False) -> Self:
        """Return the endpoint of a base URL.

        Raises:
            NetworkError: it is not https (nor loopback http with `insecure`), or the CA file is unreadable.
        """
        if not is_https(base_url) and not (insecure and is_loopback_http(base_url)):
            raise NetworkError(f"{base_url}: an https URL is needed (plain http on loopback only, --insecure)")
        parts = urlsplit(base_url)
        assert parts.hostname is not None
        if not is_https(base_url):
            return cls(parts.hostname, parts.port or 80, parts.netloc)
        try:
            trusted = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (OSError, ssl.SSLError) as error:
            raise NetworkError(f"CA file {ca}: {error}") from None
        return cls(parts.hostname, parts.port or 443, parts.netloc, trusted)

    @classmethod
    def loopback(cls, port: int) -> Self:
        """Return the endpoint of plain http on this machine."""
        return cls("127.0.0.1", port, f"127.0.0.1:{port}")


class Connection(asyncio.Protocol):
    """A keep-alive connection, one request at a time."""

    def __init__(self, timeout: float) -> None:
        self.closed = False
        self.used_at = perf_counter()
        self._timeout = timeout
        self._body: list[bytes] = []
        self._size = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._parser = httptools.HttpResponseParser(self)

    @classmethod
    async def open(cls, endpoint: Endpoint, *, timeout: float = 30.0) -> Self:
        """Connect; `timeout` is for connecting, and then for each request, in seconds. Raises Failure."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                _, protocol = await loop.create_connection(
                    lambda: cls(timeout), endpoint.host, endpoint.port, ssl=endpoint.tls
                )
        except (OSError, TimeoutError) as error:
            raise connecting_failed(error) from None
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio.Protocol)."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own
        self._loop = asyncio.get_running_loop()

    def post(self, head: bytes, body: bytes) -> "asyncio.Future[bytes]":
        """Send a request, its `head` up to the value of Content-Length; the answer's body, if the status is 2xx.

        The future's error is a Failure.
        """
        answer = self._answer = self._loop.create_future()
        if self.closed:
            self._fail(Failure(LOST, "closed"))
            return answer
        self._alarm = self._loop.call_later(self._timeout, self._time_out)
        self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        return answer

    def data_received(self, data: bytes) -> None:
        """Take in an answer (asyncio.Protocol)."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(Failure(UNREADABLE, str(error)))
            self.close()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of an answer's body (httptools)."""
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            self._fail(Failure(UNREADABLE, f"more than {MAX_ANSWER_BYTES} bytes"))
            self.close()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer who waits (httptools)."""
        body, status = b"".join(self._body), self._parser.get_status_code()
        self._body.clear()
        self._size = 0
        self.used_at = perf_counter()
        if not self._parser.should_keep_alive():
            self.close()
        if _OK <= status < _REDIRECTION:
            answer = self._taken()
            if answer is not None:
                answer.set_result(body)
        else:
            self._fail(Failure(f"HTTP {status}", body[:300].decode("utf-8", errors="replace")))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits (asyncio.Protocol)."""
        self.closed = True
        self._fail(Failure(LOST, str(exc or "the server closed it")))

    def close(self) -> None:
        """Close it, without waiting for the other side's farewell (TLS close_notify): the loop may end at once."""
        self.closed = True
        self._transport.abort()

    def _time_out(self) -> None:
        self._fail(Failure(TIME_OUT, f"no answer in {self._timeout:g} s"))
        # What comes now would be taken for the next answer.
        self.close()

    def _fail(self, failure: Failure) -> None:
        answer = self._taken()
        if answer is not None:
            answer.set_exception(failure)

    def _taken(self) -> "asyncio.Future[bytes] | None":
        answer, self._answer = self._answer, None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        return None if answer is None or answer.done() else answer


class Client:
    """Requests to one server, over one connection that is made when there is none, and again when it was lost."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = 30.0) -> None:
        """Connect lazily; `timeout` is for connecting and for each request, in seconds."""
        self._endpoint = endpoint
        self._timeout = timeout
        self._connection: Connection | None = None

    async def post(self, head: bytes, body: bytes) -> bytes:
        """Return the body of the answer to a request, of which nothing is sent twice. Raises Failure."""
        connection = self._connection
        if connection is None or connection.closed or perf_counter() - connection.used_at > KEEP_ALIVE_SECONDS:
            self.close()
            connection = self._connection = await Connection.open(self._endpoint, timeout=self._timeout)
        return await connection.post(head, body)

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
