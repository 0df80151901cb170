"""Runs the server under uvicorn: TLS by the lab CA, or plain http on loopback where that is asked for."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvicorn
from starlette.types import ASGIApp

from fidoloop.server import sessions
from fidoloop.server.app import create_app
from fidoloop.server.config import ServerConfig, make_config
from fidoloop.server.environment import system_clock
from fidoloop.server.errors import ConfigError, ListenError
from fidoloop.server.logs import AccessLog, configure_logging
from fidoloop.server.settings.declared import Settings
from fidoloop.server.settings.layers import FILE_NAME, read_layers
from fidoloop.server.store import queries
from fidoloop.server.store.base import Store
from fidoloop.server.store.open import open_store
from fidoloop.server.tls import LabTls, ensure_lab_tls

PURGE_SECONDS = 600.0
COLLECTION_THRESHOLD = 20_000
"""So many more objects made than dropped, and the garbage collector looks: some 10 MiB."""
BASE_URL_SETTING = "base_url"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens, and the CA certificate to trust (None: plain http)."""

    url: str
    ca: Path | None


def run_server(home: Path, options: Mapping[str, object], announce: Callable[[Listening], None]) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once connections are accepted.

    `options` are what the command line sets, by the names of the settings.

    Raises:
        ConfigError: the configuration, or plain http elsewhere than on loopback.
        StoreError, ListenError: the database or the port cannot be opened.
    """
    layers = read_layers(home / FILE_NAME, options=options)
    settings = msgspec.convert(layers.nested(), Settings)
    if settings.insecure and not is_loopback(settings.host):
        raise ConfigError(f"{layers.origin('insecure')}: insecure serves loopback addresses only, not {settings.host}")
    configure_logging(settings.log_format)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _listen(settings) as listener:
        scheme = "http" if settings.insecure else "https"
        config = make_config(home, layers, fallback_base_url=f"{scheme}://localhost:{listener.getsockname()[1]}")
        host = urlsplit(config.base_url).hostname or "localhost"
        tls = None if config.insecure else ensure_lab_tls(config.tls_directory, hosts=(host,))
        # So that SIGTERM unwinds like SIGINT instead of ending the process in the middle.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(config, listener, tls, announce))


def is_loopback(host: str) -> bool:
    """Tell whether `host` names this machine to itself only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ListenError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from None


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
            AccessLog(app) if config.access_log else app,
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
