"""HTTP connections that come to an end: nobody holds one by sending slowly, nor all of them by opening many.

uvicorn's own limits are for what comes after an answer. Here a request's head and its body have their time, and of too
many connections the one goes that has asked for nothing for the longest.
"""

import asyncio
import fcntl
import sys
import termios
from collections import Counter
from enum import IntEnum
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from fidoloop.server.http.connection import Connection
from fidoloop.server.http.messages import HttpProblem
from fidoloop.server.http.problems import problem_response
from fidoloop.server.http.secure_headers import SecureHeaders
from fidoloop.server.http.sending import send_response
from fidoloop.server.request_ids import begin_request
from fidoloop.server.settings.connections import ConnectionSettings

SWEEP_SECONDS = 1.0
SPARE = 32
"""So many connections above the limit are taken and told that it is reached, where none can be closed for them."""
_SLOW = HttpProblem(408, "the request took too long to come")
_SECURE = SecureHeaders("")
_FULL = HttpProblem(503, "too many connections", ((b"retry-after", b"1"), (b"connection", b"close")))


class Phase(IntEnum):
    """Where in its newest request a connection is."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    ANSWER = 3


class Closable(Protocol):
    """A connection, whatever it has got to."""

    def abort(self) -> None:
        """Close it at once."""


class Connections:
    """The connections of one worker. `ended` counts those that were not ended by their client, by the reason."""

    def __init__(self, settings: ConnectionSettings, *, most: int) -> None:
        """`most` is the limit in effect; see `open_files.most_connections`."""
        self.settings = settings
        self.most = most
        self.all: set[Closable] = set()
        """Those in their TLS handshake among them."""
        self.idle: dict[Closable, None] = {}
        """Those of which no request has wholly begun, the longest idle first."""
        self.leaving = False
        """Whether each is to be closed after its next answer."""
        self.ended: Counter[str] = Counter()

    def make_room(self) -> bool:
        """Close the connection that has been idle for the longest; False where every one has a request."""
        connection = next(iter(self.idle), None)
        if connection is None:
            return False
        self.forget(connection)
        self.ended["replaced"] += 1
        connection.abort()
        return True

    def begin(self, connection: "Closable") -> None:
        """Count a connection that has asked for nothing yet."""
        self.all.add(connection)
        self.idle[connection] = None

    def forget(self, connection: "Closable") -> None:
        """Count a connection no more."""
        self.all.discard(connection)
        self.idle.pop(connection, None)

    async def sweep_for_ever(self) -> None:
        """End what takes too long, looking every second."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in list(self.all):
                if isinstance(connection, WatchedConnection):
                    connection.end_if_slow(now)


class WatchedConnection(Connection):
    """An HTTP connection whose requests have to come in time."""

    def __init__(self, connections: Connections, *, full: bool, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """`full`: there are too many, and this one is told so; `options` are the base's."""
        super().__init__(**options)
        if full:
            self.app = _refuse_for_lack_of_room
            connections.ended["refused"] += 1
        self._watched = connections
        self._phase = Phase.IDLE
        self._since = self.loop.time()
        self._unread_since: float | None = None
        self._patience = float(connections.settings.head_seconds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base has it
        """Begin (asyncio.Protocol)."""
        super().connection_made(transport)
        self._watched.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End (asyncio.Protocol)."""
        self._watched.forget(self)
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio takes either
        """Answer a client that has said all that it will, and reads on; TLS has no such half (asyncio.Protocol)."""
        if self.scheme == "https" or self._hung_up or self._phase is not Phase.ANSWER or self.cycle.response_started:
            return None
        self.cycle.keep_alive = False
        return True

    def on_message_begin(self) -> None:
        """A request begins (httptools)."""
        super().on_message_begin()
        self._enter(Phase.HEAD)

    def on_headers_complete(self) -> None:
        """Its head is here (httptools)."""
        self._watched.idle.pop(self, None)
        self._enter(Phase.BODY)
        super().on_headers_complete()
        if self._watched.leaving:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """All of it is here (httptools)."""
        super().on_message_complete()
        if self.cycle.response_complete:  # before all of it was here
            self._await_next()
        else:
            self._enter(Phase.ANSWER)

    def on_response_complete(self) -> None:
        """It is answered (uvicorn)."""
        super().on_response_complete()
        if self.pipeline or self.transport.is_closing():
            return
        if self._phase is Phase.ANSWER:
            self._await_next()
        elif self._phase is Phase.HEAD:
            self._watched.idle[self] = None

    def abort(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def end_if_slow(self, now: float) -> None:
        """End it if its request, or the reading of its answer, takes longer than it may."""
        settings = self._watched.settings
        if not self._unsent():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > settings.body_seconds:
            self._watched.ended["answer not read"] += 1
            self.transport.abort()
            return
        if self.flow.read_paused:
            # It waits for us, not we for it.
            self._since = now
        limits = {Phase.IDLE: self._patience, Phase.HEAD: settings.head_seconds, Phase.BODY: settings.body_seconds}
        limit = limits.get(self._phase)
        closing = self._hung_up or self.transport.is_closing()
        if limit is not None and now - self._since > limit and not closing:
            self._end(f"slow {self._phase.name.lower()}", None if self._phase is Phase.IDLE else _SLOW)

    def _unsent(self) -> int:
        """Return how much of the answer is on its way; behind TLS only the kernel says so."""
        if self.scheme != "https":
            return self.transport.get_write_buffer_size()
        connection = self.transport.get_extra_info("socket")
        if connection is None or connection.fileno() < 0:  # closed, and soon forgotten
            return 0
        return int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def _await_next(self) -> None:
        self._enter(Phase.IDLE)
        # uvicorn closes it where nothing at all comes meanwhile.
        self._patience = float(self._watched.settings.idle_seconds + self._watched.settings.head_seconds)
        self._watched.idle[self] = None

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()

    def _end(self, reason: str, problem: HttpProblem | None) -> None:
        """Close, after an answer where one is due and none has begun."""
        self._watched.ended[reason] += 1
        answering = self.cycle is not None and self.cycle.response_started
        if problem is not None and not (answering and not self.cycle.response_complete):
            answer = problem_response(problem)
            head = b"%bcontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (
                STATUS_LINE[problem.status],
                len(answer.body),
            )
            self.transport.write(head + answer.body)
            self.hang_up()
            self._watched.idle[self] = None
        else:
            self.transport.close()


async def _refuse_for_lack_of_room(scope: Scope, receive: Receive, send: Send) -> None:
    headers = dict(scope["headers"])
    await send_response(problem_response(_FULL), begin_request(headers.get(b"x-request-id")), _SECURE, send)
