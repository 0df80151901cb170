"""The configuration in effect: the settings, and what follows from them."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.facets import origin
from fidoloop.protocol.uaf.messages import Version
from fidoloop.server.errors import ConfigError
from fidoloop.server.settings.declared import Settings
from fidoloop.server.settings.layers import FILE_NAME, Layers, read_layers

CONTEXT_PATH = "/nevisfido"


class SettingError(ConfigError):
    """A setting whose value cannot work, though it is of its type."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class ServerConfig(Settings, frozen=True, kw_only=True):
    """Everything that is configured; settings that were left empty hold what follows from the others."""

    home: Path
    versions: tuple[Version, ...] = ()

    def __post_init__(self) -> None:
        """Fill in what follows from the rest, and refuse what cannot work. Raises SettingError."""

        def fill(name: str, value: object) -> None:
            msgspec.structs.force_setattr(self, name, value)

        fill("base_url", self.base_url.rstrip("/"))
        web_facet = origin(self.base_url)
        if web_facet is None or urlsplit(self.base_url).query:
            raise SettingError("base_url", "not an http(s) URL")
        fill("versions", tuple(Version(*map(int, text.split("."))) for text in self.uaf_versions))
        fill("app_id", self.app_id or f"{self.base_url}{CONTEXT_PATH}/uaf/1.1/facets")
        fill("facets", self.facets or (web_facet, LAB_FACET_ID))
        fill("database", self.database or f"sqlite:///{self.home / 'server.sqlite'}")

    @property
    def metadata_directory(self) -> Path:
        """Where the metadata statements are."""
        return self.home / "metadata"

    @property
    def policy_directory(self) -> Path:
        """Where the operator's own policies are."""
        return self.home / "policies"

    @property
    def tls_directory(self) -> Path:
        """Where the lab CA and the server's certificate are."""
        return self.home / "tls"


def default_home() -> Path:
    """Return the state directory: $XDG_STATE_HOME/fidoloop."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "fidoloop"


def load_config(
    home: Path, options: Mapping[str, object] | None = None, *, fallback_base_url: str | None = None
) -> ServerConfig:
    """Return the configuration of `home`: `options`, environment, file, defaults, the first that says something.

    `options` are by the names of their settings; `fallback_base_url` is taken where none of them has a base URL.

    Raises:
        ConfigError: a setting that there is not or cannot be so, or no base URL is known.
    """
    return make_config(home, read_layers(home / FILE_NAME, options=options), fallback_base_url=fallback_base_url)


def make_config(home: Path, layers: Layers, *, fallback_base_url: str | None = None) -> ServerConfig:
    """Return the configuration of the settings in `layers`; see `load_config`. Raises ConfigError."""
    values = layers.nested()
    values["base_url"] = values.get("base_url") or fallback_base_url
    if values["base_url"] is None:
        raise ConfigError("no base URL is known: give --base-url, or base_url in [server] of fidoloop.toml")
    try:
        return msgspec.convert({**values, "home": str(home)}, ServerConfig, dec_hook=lambda type_, value: type_(value))
    except SettingError as error:
        raise ConfigError(f"{layers.origin(error.name)}: {error}") from None
