"""The ASGI application."""

from starlette.applications import Starlette

from fidoloop.server.config import ServerConfig
from fidoloop.server.environment import Clock, Environment, make_environment, system_clock
from fidoloop.server.http.dispatch import Dispatch, Routes
from fidoloop.server.lab.faults import recorded
from fidoloop.server.routes import make_routes
from fidoloop.server.store.base import Store


def create_app(
    config: ServerConfig, store: Store, *, clock: Clock = system_clock, routes: Routes | None = None
) -> Starlette:
    """Return the server over an open `store`, which stays the caller's to close.

    `clock` gives epoch milliseconds; `routes` are the services, those of `make_routes` unless given.

    Raises:
        ConfigError: a policy file cannot be used.
    """
    return app_of(make_environment(config, store, clock), routes)


def app_of(environment: Environment, routes: Routes | None = None) -> Starlette:
    """Return the server of an environment; see `create_app`."""
    app = Starlette()
    app.router.redirect_slashes = False
    # What no Starlette route takes comes here: a table look-up instead of a walk through patterns.
    lab = environment.lab
    if lab is None:
        app.router.default = Dispatch(environment, routes or make_routes())
    else:
        app.router.default = recorded(environment, lab, routes or make_routes(lab=True))
    return app
