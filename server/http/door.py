"""Takes connections: as many as there is room for, their TLS handshakes among them, and gives each to its protocol.

asyncio's servers take whatever comes, until no file can be opened any more; then nobody gets in, and the store cannot
connect again either.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial

from fidoloop.server.http.connections import SPARE, Connections

AGAIN_SECONDS = 0.1
"""While there is no room, or after the system refused a connection, it is tried again so much later."""
_log = logging.getLogger("fidoloop.server.http")


class Door:
    """Listening sockets, and the connections that come in. Closed as asyncio's servers are."""

    def __init__(
        self, connections: Connections, protocol: Callable[[bool], asyncio.Protocol], context: ssl.SSLContext | None
    ) -> None:
        """`protocol` makes the protocol of a connection, told whether there are too many."""
        self.connections = connections
        self.protocol = protocol
        self.context = context
        self.entering: set[_Entering] = set()
        self._accepting: list[asyncio.Task[None]] = []

    def open(self, listeners: Sequence[socket.socket]) -> None:
        """Take connections from now on."""
        for listener in listeners:
            listener.setblocking(False)
            self._accepting.append(asyncio.create_task(self._accept(listener)))

    def close(self) -> None:
        """Take no more; those whose TLS handshake is not over are closed."""
        for task in self._accepting:
            task.cancel()
        for entering in self.entering:
            entering.abort()

    async def wait_closed(self) -> None:
        """Return when nothing is taken any more."""
        tasks = (*self._accepting, *(entering.task for entering in self.entering))
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop, connections = asyncio.get_running_loop(), self.connections
        while True:
            # Those above the limit are told so; but not any number of them.
            if len(connections.all) >= connections.most + SPARE and not connections.idle:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                _log.error("a connection cannot be taken: %s", error.strerror)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            full = len(connections.all) >= connections.most and not connections.make_room()
            _Entering(self, connection, full=full)


class _Entering:
    """A connection that has no protocol yet: its TLS handshake has to come first."""

    def __init__(self, door: Door, connection: socket.socket, *, full: bool) -> None:
        self._door = door
        self._connection = connection
        self.task = asyncio.create_task(self._enter(partial(door.protocol, full)))
        door.entering.add(self)
        if door.context is not None:
            door.connections.begin(self)
        self.task.add_done_callback(self._done)

    def abort(self) -> None:
        """Close it at once. Without TLS it has its protocol in a moment, which closes it."""
        if self._door.context is not None:
            self.task.cancel()

    async def _enter(self, protocol: Callable[[], asyncio.Protocol]) -> None:
        door = self._door
        seconds = None if door.context is None else float(door.connections.settings.head_seconds)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                protocol, self._connection, ssl=door.context, ssl_handshake_timeout=seconds
            )
        except OSError:
            # No TLS, not in time, or gone: anybody can have that happen, and it is not worth a line each.
            door.connections.ended["no handshake"] += 1
            self._connection.close()
        except asyncio.CancelledError:
            self._connection.close()
            raise

    def _done(self, task: asyncio.Task[None]) -> None:
        self._door.connections.forget(self)
        self._door.entering.discard(self)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a connection failed", exc_info=task.exception())
