"""The server inside another program: as an ASGI application, in a process of its own, and its DPoP check for others."""

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette

from fidoloop.lab import LabError, LabServer
from fidoloop.protocol.oauth.access_tokens import AccessTokenClaims
from fidoloop.protocol.oauth.server_nonces import ServerNonces
from fidoloop.server.config import load_config
from fidoloop.server.errors import ConfigError
from fidoloop.server.mounted import mounted_app
from fidoloop.server.oauth.resource import CLAIMS, Demand, DpopAccess, ReplayStore, Resource, TokenReader, jwt_reader

__all__ = [
    "CLAIMS",
    "AccessTokenClaims",
    "ConfigError",
    "Demand",
    "DpopAccess",
    "LabError",
    "LabServer",
    "ReplayStore",
    "Resource",
    "ServerNonces",
    "TokenReader",
    "jwt_reader",
    "make_app",
]


def make_app(home: Path, settings: Mapping[str, object]) -> Starlette:
    """Return the server whose state is in `home` as an ASGI application; its lifespan has to be run.

    `settings` are by the names of docs/configuration.md ("base_url", "tls.cert"); the environment and `home`'s
    fidoloop.toml count too. `base_url` is what clients see; TLS and the number of processes are the host's.

    Raises:
        ConfigError: a setting that there is not or cannot be so; the lifespan raises it and StoreError, too.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return mounted_app(load_config(home, settings))
