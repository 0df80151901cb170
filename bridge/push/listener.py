"""Runs the phone's push service beside whatever the phone does: uvicorn in a thread of its own."""

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fidoloop.bridge.errors import NetworkError
from fidoloop.bridge.push.service import PushService


class PushListener:
    """Listens from the context's beginning to its end. `port` is the one it has."""

    def __init__(self, service: PushService, *, host: str, port: int, tls: tuple[Path, Path] | None) -> None:
        """Open the port; 0 picks a free one. `tls` is certificate and key, PEM; without it is plain http.

        Raises:
            NetworkError: the port cannot be listened on, or the files of `tls` not be used.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=1024)
        except OSError as error:
            raise NetworkError(f"cannot listen on {host} port {port}: {error.strerror}") from None
        self.port: int = self._socket.getsockname()[1]
        settings = uvicorn.Config(
            service,
            lifespan="off",
            interface="asgi3",
            loop="asyncio",
            http=HttpToolsProtocol,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )
        try:
            settings.load()
        except OSError as error:  # ssl.SSLError is one
            self._socket.close()
            raise NetworkError(f"the listener's certificate and key: {error}") from None
        self._server = _Server(settings)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server.listens.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Senders keep connections; under TLS they would have to answer the farewell, and need not be there any more.
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpToolsProtocol) and (
                connection.cycle is None or connection.cycle.response_complete
            ):
                connection.transport.abort()
        await super().shutdown(sockets)
