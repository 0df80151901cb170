"""An HTTP connection of uvicorn's, with a limit for what uvicorn has none: a request's line and header fields."""

import asyncio
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fidoloop.server.http.dispatch import TLS_UNIQUE

MAX_HEAD_BYTES: Final = 65536
"""Of request line and header fields; the longest that clients of ours send is the link page's, of 32 KiB."""
MAX_FIELDS: Final = 100
# What is not a whole field yet is known by the size of what was read only, in which more than the head may be.
_MAX_UNPARSED: Final = 4 * MAX_HEAD_BYTES
LINGER_SECONDS: Final = 2.0
"""Whoever is refused and still sends has so long to read why; what he sends is thrown away."""
_AROUND_FIELD: Final = len(b": \r\n")
_TOO_LARGE: Final = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class _HeadTooLarge(Exception):
    """Ends the parsing: httptools turns it into its own error."""


class Connection(HttpToolsProtocol):
    """Refuses a request whose head is too large by 431, and hangs up; nothing of it is kept.

    It knows its tls-unique, too, which TLS 1.3 has not.
    """

    _in_head = True
    _too_large = _hung_up = False
    _head_bytes = _fields = _unparsed = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base has it
        """Begin, and note the TLS channel."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None and connection.version() == "TLSv1.2":
            self.app_state = {TLS_UNIQUE: connection.get_channel_binding("tls-unique")}

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the head that it belongs to is too large already, or nothing is heard any more."""
        if self._hung_up:
            return
        super().data_received(data)
        if self._in_head and not self._too_large:
            self._unparsed += len(data)
            if self._unparsed > _MAX_UNPARSED:
                self._too_large = True
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Count anew."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._fields = self._unparsed = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field."""
        self._fields += 1
        self._count(len(name) + len(value) + _AROUND_FIELD)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin with the request."""
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed, or is too large."""
        if not self._too_large:
            super().send_400_response(msg)
            return
        head = f"HTTP/1.1 {_TOO_LARGE.value} {_TOO_LARGE.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode("ascii"))
        self.hang_up()

    def hang_up(self) -> None:
        """Close, so that a client that still sends can read what it was answered (RFC 9112 section 9.6).

        If it were closed at once, what came after that would be answered by a reset, which may overtake the answer.
        """
        if self.scheme == "https":  # ends by an exchange of its own
            self.transport.close()
            return
        self._hung_up = True
        self.transport.write_eof()
        if self.cycle is not None:
            # As where the client is gone: whoever waits for more of the request is told so.
            self.cycle.disconnected = not self.cycle.response_complete
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or self._fields > MAX_FIELDS:
            self._too_large = True
            raise _HeadTooLarge
