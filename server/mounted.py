"""The server as an ASGI application that opens what it needs when its lifespan begins: for other people's servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from fidoloop.server.app import app_of
from fidoloop.server.config import ServerConfig
from fidoloop.server.run import beside, housekeeping, opened


def mounted_app(config: ServerConfig) -> Starlette:
    """Return the server of `config`; it answers once its lifespan began, which its host must run.

    TLS, signals and the number of processes are the host's. `base_url` must be what clients see.

    Raises:
        ConfigError, StoreError: from the lifespan, where something configured cannot be used or opened.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with opened(config, None) as environment, beside(*housekeeping(environment)):
            app.router.default = app_of(environment).router.default
            try:
                yield
            finally:
                environment.changes.stop()

    app = Starlette(lifespan=lifespan)
    app.router.redirect_slashes = False
    return app
