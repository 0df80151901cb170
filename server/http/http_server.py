"""uvicorn with a door of our own: it says when it accepts connections, and ends streams when it stops."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from fidoloop.server.changes import Changes
from fidoloop.server.http.connections import Connections, WatchedConnection
from fidoloop.server.http.door import Door

CANCELLED_SECONDS = 2.5
LOOK_SECONDS = 0.1


class HttpServer(uvicorn.Server):
    """One worker's server. `started` is called once connections are accepted; the streams of `changes` end first."""

    def __init__(
        self,
        config: uvicorn.Config,
        connections: Connections,
        changes: Changes,
        started: Callable[[], None],
        *,
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._changes = changes
        self._say_started = started
        self._drain_seconds = drain_seconds

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, through the loop: nothing is interrupted in its middle."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from the listening `sockets`."""
        door = Door(self._connections, self._protocol, self.config.ssl)
        door.open(sockets or ())
        self.servers = [door]  # type: ignore[list-item]  # closed alike
        self.started = True
        self._say_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, and finish what was begun, as long as that may take."""
        self._changes.leaving = self._connections.leaving = True
        await self._drain()
        self._changes.stop()
        for door in self.servers:
            door.close()
            await door.wait_closed()
        await super().shutdown(sockets)
        # Those whose time ran out were cancelled; they still have to undo what they began.
        left = set(self.server_state.tasks)
        if left:
            await asyncio.wait(left, timeout=CANCELLED_SECONDS)

    async def _drain(self) -> None:
        """Go on for a while; a second SIGINT ends it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._drain_seconds
        while loop.time() < until and not self.force_exit:
            await asyncio.sleep(LOOK_SECONDS)

    def _protocol(self, full: bool) -> WatchedConnection:
        state = self.lifespan.state
        return WatchedConnection(
            self._connections, full=full, config=self.config, server_state=self.server_state, app_state=state
        )
