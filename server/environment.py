"""What every service works with: configuration, store, clock and the things read from files."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

from fidoloop.protocol.uaf.facets import origin
from fidoloop.server.certificate_files import ServerCertificate
from fidoloop.server.changes import Changes
from fidoloop.server.channels import Channels, make_channels
from fidoloop.server.config import ServerConfig
from fidoloop.server.dispatchers.base import Dispatcher
from fidoloop.server.dispatchers.configured import make_dispatchers
from fidoloop.server.fido2.models import ModelDirectory
from fidoloop.server.lab.console import Lab
from fidoloop.server.metadata import MetadataDirectory
from fidoloop.server.metrics import Metrics
from fidoloop.server.oauth.authorization_server import AuthorizationServer
from fidoloop.server.policies import Policies
from fidoloop.server.prepared_requests import PreparedRequest
from fidoloop.server.rate_limits import RateLimits
from fidoloop.server.remembered import Remembered
from fidoloop.server.shared_changes import SharedChanges
from fidoloop.server.store.base import Store
from fidoloop.server.store.open import POSTGRESQL

_log = logging.getLogger("fidoloop.server")
Clock = Callable[[], int]


def system_clock() -> int:
    """Return the time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Environment:
    """One server.

    `channels` None: no response need name its channel. `prepared` are its usernameless authentication requests by the
    name of their policy. `lab` None: there is no lab console, and nothing is recorded.
    """

    config: ServerConfig
    store: Store
    clock: Clock
    metadata: MetadataDirectory
    policies: Policies
    trusted_facets: frozenset[str]
    dispatchers: Mapping[str, Dispatcher]
    authorization_server: AuthorizationServer
    models: ModelDirectory
    limits: RateLimits
    changes: Changes = field(default_factory=Changes)
    prepared: dict[str, PreparedRequest] = field(default_factory=dict)
    remembered: Remembered = field(default_factory=Remembered)
    metrics: Metrics = field(default_factory=Metrics)
    channels: Channels | None = None
    lab: Lab | None = None
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def later(self, work: Coroutine[None, None, None]) -> None:
        """Have `work` done after the answer to the present request; what fails is logged."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("unexpected error after an answer", exc_info=task.exception())

    async def close(self) -> None:
        """Give up what was still to be done, and close what its dispatchers hold open; the store stays the caller's."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for dispatcher in self.dispatchers.values():
            await dispatcher.close()


def make_environment(
    config: ServerConfig, store: Store, clock: Clock, certificate: ServerCertificate | None = None
) -> Environment:
    """Return the environment of `config`, policies and metadata read; `certificate` is what the server shows, if any.

    Raises:
        ConfigError: a policy file cannot be used, or what channels are to be bound to, or what a dispatcher needs.
    """
    metadata = MetadataDirectory(config.metadata_directory)
    metadata.refresh(clock())
    models = ModelDirectory(config.fido2_metadata_directory)
    models.refresh(clock())
    # Web facets are compared as origins.
    facets = frozenset((origin(facet) or facet) for facet in config.facets)
    return Environment(
        config,
        store,
        clock,
        metadata,
        Policies(config.policy_directory),
        facets,
        make_dispatchers(config),
        AuthorizationServer(config, clock()),
        models,
        RateLimits(config.rate_limits, store, clock, workers=config.workers),
        SharedChanges() if config.database.startswith(POSTGRESQL) else Changes(),
        channels=make_channels(config, certificate),
        lab=Lab() if config.lab else None,
    )
