"""Runs the server under uvicorn: TLS by the lab CA or by certificate files, or plain http on loopback if asked for."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvicorn

from fidoloop.server import rate_limits, sessions
from fidoloop.server.app import app_of
from fidoloop.server.certificate_files import ServerCertificate, warn_about
from fidoloop.server.config import ServerConfig, make_config
from fidoloop.server.environment import Environment, make_environment, system_clock
from fidoloop.server.errors import ConfigError, StoreError
from fidoloop.server.home_lock import using_home
from fidoloop.server.http.connections import Connections
from fidoloop.server.http.http_server import HttpServer
from fidoloop.server.logs import configure_logging
from fidoloop.server.oauth import grants
from fidoloop.server.open_files import most_connections
from fidoloop.server.settings.declared import Settings
from fidoloop.server.settings.layers import FILE_NAME, read_layers
from fidoloop.server.shared_changes import SharedChanges
from fidoloop.server.store import queries
from fidoloop.server.store.open import open_store
from fidoloop.server.tls import ensure_lab_tls
from fidoloop.server.web import operations
from fidoloop.server.workers import Worker, listen_together, supervise

PURGE_SECONDS = 600.0
CLOCK_AHEAD_MILLIS = 2 * 3600 * 1000
"""A clock that goes ahead by so much, purges and is put back again opens no replay: expired marks are kept so long."""
LOOK_AT_FILES_SECONDS = 2.0
LAB_TLS_SECONDS = 3600.0
COLLECTION_THRESHOLD = 20_000
BASE_URL_SETTING = "base_url"
_log = logging.getLogger("fidoloop.server")


@dataclass(frozen=True, slots=True)
class Listening:
    """The server's URL, the port that it listens on, and the lab CA's certificate to trust.

    None of the latter where it is plain http, or TLS by certificate files. `lab` opens the lab console, once, where it
    is on.
    """

    url: str
    port: int
    ca: Path | None
    lab: str | None = None


Announce = Callable[[Listening], None]


def run_server(home: Path, options: Mapping[str, object], announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM; `announce` is called once connections are accepted.

    `options` are what the command line sets, by the names of the settings.

    Raises:
        ConfigError: the configuration, or files that it names, cannot be used.
        StoreError, ListenError: the database or the port cannot be opened.
    """
    layers = read_layers(home / FILE_NAME, options=options)
    settings = msgspec.convert(layers.nested(), Settings)
    scheme = "http" if settings.insecure else "https"
    # Whatever the port will be: what is wrong is said before anything is opened.
    make_config(home, layers, fallback_base_url=f"{scheme}://localhost:{settings.port}")
    configure_logging(settings.log_format)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with using_home(home), ExitStack() as opened:
        listeners = listen_together(settings.host, settings.port, settings.workers)
        for listener in listeners:
            opened.enter_context(listener)
        port: int = listeners[0].getsockname()[1]
        config = make_config(home, layers, fallback_base_url=f"{scheme}://localhost:{port}")
        with layers.locating():
            transport = _transport(config)
        # Until the loop takes signals itself, SIGTERM unwinds like SIGINT instead of ending the process in the middle.
        signal.signal(signal.SIGTERM, signal.default_int_handler)

        def say(lab: str | None) -> None:
            announce(Listening(config.base_url, port, transport.ca, lab))

        with suppress(KeyboardInterrupt):
            if len(listeners) == 1:
                _work(config, transport, Worker(0, listeners[0], None, say))
                return
            # What is wrong is said once and before anybody serves, not by each worker.
            asyncio.run(_try_out(config, transport))
            supervise(
                listeners,
                partial(_work, config, transport),
                announce=lambda: say(None),
                stop_seconds=config.drain_seconds + config.stop_seconds,
            )


def _work(config: ServerConfig, transport: "_Transport", worker: Worker) -> None:
    """Serve in this process. Raises StoreError, ConfigError."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, transport, worker))


async def _try_out(config: ServerConfig, transport: "_Transport") -> None:
    """Open and close what a worker opens, the tables brought up to date. Raises StoreError, ConfigError."""
    async with opened(config, transport.certificate):
        pass


def lab_url(environment: Environment) -> str | None:
    """Return the URL that opens the lab console, once: its token stands behind the #, so that no log has it."""
    lab = environment.lab
    return None if lab is None else f"{environment.config.base_url}/lab#{lab.access.token}"


@dataclass(frozen=True, slots=True)
class _Transport:
    """How clients reach the server; `lab_hosts` where the lab CA vouches for the certificate."""

    certificate: ServerCertificate | None = None
    ca: Path | None = None
    lab_hosts: tuple[str, ...] = ()


def _transport(config: ServerConfig) -> _Transport:
    if config.insecure:
        return _Transport()
    now = datetime.now(UTC)
    host = urlsplit(config.base_url).hostname or "localhost"
    version = config.tls.minimum_version
    if config.tls.cert:
        files = Path(config.tls.cert), Path(config.tls.key)
        certificate = ServerCertificate(*files, minimum_version=version, at=now)
        warn_about(*files, certificate.leaf, host=host)
        return _Transport(certificate)
    lab = ensure_lab_tls(config.tls_directory, hosts=(host,))
    certificate = ServerCertificate(lab.certificate, lab.key, minimum_version=version, at=now)
    return _Transport(certificate, lab.ca, (host,))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    return uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()


@asynccontextmanager
async def opened(config: ServerConfig, certificate: ServerCertificate | None) -> AsyncIterator[Environment]:
    """Open the store and what the configuration names; `certificate` is what the server shows, if it does.

    Raises:
        StoreError, ConfigError.
    """
    store = await open_store(config.database, migrate=config.migrate)
    environment: Environment | None = None
    try:
        async with store.transaction() as transaction:
            # Operators' commands in other processes make links to this server.
            await transaction.execute(queries.SET_SETTING, name=BASE_URL_SETTING, value=config.base_url)
        environment = make_environment(config, store, system_clock, certificate)
        yield environment
    finally:
        if environment is not None:
            await environment.close()
        await store.close()


async def _serve(config: ServerConfig, transport: _Transport, worker: Worker) -> None:
    certificate = transport.certificate
    async with opened(config, certificate) as environment:
        settings = uvicorn.Config(
            app_of(environment),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=config.connections.idle_seconds,
            timeout_graceful_shutdown=config.stop_seconds,
            ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
        )
        connections = Connections(config.connections, most=most_connections(config.connections.most))
        environment.metrics.connections_ended = connections.ended
        server = HttpServer(
            settings,
            connections,
            environment.changes,
            lambda: worker.started(lab_url(environment)),
            drain_seconds=config.drain_seconds,
        )
        spare_collections()
        jobs = [*housekeeping(environment), connections.sweep_for_ever()]
        if config.workers > 1:
            environment.metrics.worker = str(worker.number)
        if certificate is not None:
            jobs.append(_watch(certificate))
        if transport.lab_hosts and worker.number == 0:
            jobs.append(_renew(config, transport.lab_hosts))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, _reload_now, certificate)
        if worker.parent_gone is not None:
            loop.add_reader(worker.parent_gone, _stop_orphan, server, worker.parent_gone)
        async with beside(*jobs):
            await server.serve(sockets=[worker.listener])


def _stop_orphan(server: uvicorn.Server, parent_gone: int) -> None:
    asyncio.get_running_loop().remove_reader(parent_gone)
    server.handle_exit(signal.SIGTERM, None)


def spare_collections() -> None:
    """Let the garbage collector look less often, and never again at what the imports made, which stays.

    A request makes hardly any cycles; what it drops is freed by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTION_THRESHOLD)


@asynccontextmanager
async def beside(*jobs: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run `jobs`, which never end, while the context is open."""
    tasks = [asyncio.create_task(job) for job in jobs]
    for task in tasks:
        task.add_done_callback(_tell_of_end)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _tell_of_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a job beside the server failed, and is not done until the next start", exc_info=task.exception())


def housekeeping(environment: Environment) -> list[Coroutine[None, None, None]]:
    """Return the jobs that never end and that a server needs beside it, whoever serves."""
    jobs = [_purge_for_ever(environment)]
    if isinstance(environment.changes, SharedChanges):
        jobs.append(environment.changes.share(environment.config.database))
    return jobs


async def _purge_for_ever(environment: Environment) -> None:
    keep_millis = 1000 * environment.config.lifetimes.finished_session
    while True:
        try:
            await _purge(environment, keep_millis)
        except StoreError as error:
            environment.metrics.store_errors += 1
            _log.error("old sessions could not be removed: %s", error)
        await asyncio.sleep(PURGE_SECONDS)


async def _purge(environment: Environment, keep_millis: int) -> None:
    """Remove what is of no more use, unless another process on this store has done so lately, or is at it."""
    store, now = environment.store, system_clock()
    # A moment less than the others sleep, so that none comes just too early.
    until = now + int(1000 * (PURGE_SECONDS - 1))
    if await store.execute(queries.CLAIM_JOB, name="purge", now=now, until=until) == 1:
        # What was used is not forgotten for a clock that went ahead a while: it comes back, and the proof with it.
        await sessions.purge(store, now=now, keep_millis=keep_millis, keep_ids_millis=CLOCK_AHEAD_MILLIS)
        await grants.purge(store, now=now - CLOCK_AHEAD_MILLIS)
        await operations.purge(store, now=now)
        await rate_limits.purge(store, now=now)


async def _watch(certificate: ServerCertificate) -> None:
    while True:
        await asyncio.sleep(LOOK_AT_FILES_SECONDS)
        certificate.reload(at=datetime.now(UTC))


async def _renew(config: ServerConfig, hosts: tuple[str, ...]) -> None:
    """Have the lab CA renew the certificate in time; `_watch` takes it up."""
    while True:
        await asyncio.sleep(LAB_TLS_SECONDS)
        try:
            ensure_lab_tls(config.tls_directory, hosts=hosts)
        except ConfigError as error:
            _log.error("the lab's certificate cannot be renewed: %s", error)


def _reload_now(certificate: ServerCertificate | None) -> None:
    if certificate is not None:
        certificate.reload(at=datetime.now(UTC), only_if_changed=False)
