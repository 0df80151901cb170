"""Runs the server under uvicorn: TLS by the lab CA, or plain http on loopback where that is asked for."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp

from fidoloop.server import sessions
from fidoloop.server.app import create_app
from fidoloop.server.config import ServerConfig, load_config
from fidoloop.server.environment import system_clock
from fidoloop.server.errors import ConfigError, ListenError
from fidoloop.server.logs import AccessLog, LogFormat, configure_logging
from fidoloop.server.store import queries
from fidoloop.server.store.base import Store
from fidoloop.server.store.open import open_store
from fidoloop.server.tls import LabTls, ensure_lab_tls

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8443
PURGE_SECONDS = 600.0
COLLECTION_THRESHOLD = 20_000
"""So many more objects made than dropped, and the garbage collector looks: some 10 MiB."""
BASE_URL_SETTING = "base_url"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run. Port 0 picks a free one; `base_url` None follows from the file, else from host and port."""

    home: Path
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    insecure: bool = False
    base_url: str | None = None
    log_format: LogFormat = LogFormat.PLAIN
    access_log: bool = False


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens, and the CA certificate to trust (None: plain http)."""

    url: str
    ca: Path | None


def run_server(options: RunOptions, announce: Callable[[Listening], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once connections are accepted.

    Raises:
        ConfigError: the configuration, or plain http elsewhere than on loopback.
        StoreError, ListenError: the database or the port cannot be opened.
    """
    if options.insecure and not is_loopback(options.host):
        raise ConfigError("--insecure serves loopback addresses only")
    configure_logging(options.log_format)
    options.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _listen(options) as listener:
        scheme = "http" if options.insecure else "https"
        config = load_config(
            options.home,
            fallback_base_url=f"{scheme}://localhost:{listener.getsockname()[1]}",
            base_url=options.base_url,
        )
        host = urlsplit(config.base_url).hostname or "localhost"
        tls = None if options.insecure else ensure_lab_tls(config.tls_directory, hosts=(host,))
        # So that SIGTERM unwinds like SIGINT instead of ending the process in the middle.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(config, options, listener, tls, announce))


def is_loopback(host: str) -> bool:
    """Tell whether `host` names this machine to itself only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(options: RunOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except OSError as error:
        raise ListenError(f"cannot listen on {options.host} port {options.port}: {error.strerror}") from None


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    return uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()


class _Server(uvicorn.Server):
    """uvicorn that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._say_started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say_started()


async def _serve(
    config: ServerConfig,
    options: RunOptions,
    listener: socket.socket,
    tls: LabTls | None,
    announce: Callable[[Listening], None],
) -> None:
    store = await open_store(config.database)
    try:
        async with store.transaction() as transaction:
            # Operators' commands in other processes make links to this server.
            await transaction.execute(queries.SET_SETTING, name=BASE_URL_SETTING, value=config.base_url)
        app: ASGIApp = create_app(config, store)
        settings = uvicorn.Config(
            AccessLog(app) if options.access_log else app,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        spare_collections()
        purging = asyncio.create_task(_purge_for_ever(config, store))
        try:
            server = _Server(settings, lambda: announce(Listening(config.base_url, tls.ca if tls else None)))
            await server.serve(sockets=[listener])
        finally:
            purging.cancel()
    finally:
        await store.close()


def spare_collections() -> None:
    """Let the garbage collector look less often, and never again at what the imports made, which stays.

    A request makes hardly any cycles; what it drops is freed by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTION_THRESHOLD)


async def _purge_for_ever(config: ServerConfig, store: Store) -> None:
    while True:
        await sessions.purge(store, now=system_clock(), keep_millis=1000 * config.lifetimes.finished_session)
        await asyncio.sleep(PURGE_SECONDS)
