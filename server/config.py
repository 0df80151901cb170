"""The server's configuration: `[server]` of `<home>/fidoloop.toml`, overridden by what the command line says."""

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.facets import origin
from fidoloop.protocol.uaf.messages import V1_1, Version
from fidoloop.server.errors import ConfigError

CONTEXT_PATH = "/nevisfido"
DISPATCHERS = ("png-qr-code", "link", "link-png-qr-code")
DEFAULT_LINK_BASE_URL = "fidoloop://authenticate"
FILE_NAME = "fidoloop.toml"


class Lifetimes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long things live, in seconds (HTTP contract 11). target 0: a dispatch target never expires."""

    registration_token: int = 300
    registration_response: int = 300
    authentication_token: int = 120
    authentication_response: int = 120
    deregistration_token: int = 120
    device_clock_drift: int = 300
    target: int = 0
    finished_session: int = 3600

    def token_millis(self, op: str) -> int:
        """Return how long a token for operation `op` may wait for its redemption."""
        seconds = {"Reg": self.registration_token, "Auth": self.authentication_token}
        return 1000 * seconds.get(op, self.deregistration_token)

    def response_millis(self, op: str) -> int:
        """Return how long a challenge of operation `op` may wait for its response."""
        return 1000 * (self.registration_response if op == "Reg" else self.authentication_response)


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Everything that is configured. `app_id` and `facets` follow from `base_url` unless given."""

    home: Path
    base_url: str
    app_id: str = ""
    facets: tuple[str, ...] = ()
    versions: tuple[Version, ...] = (V1_1,)
    dispatchers: tuple[str, ...] = DISPATCHERS
    link_base_url: str = DEFAULT_LINK_BASE_URL
    database: str = ""
    lifetimes: Lifetimes = field(default_factory=Lifetimes)

    def __post_init__(self) -> None:
        """Fill in what follows from the rest, and refuse what cannot work. Raises ConfigError."""
        set_ = object.__setattr__
        set_(self, "base_url", self.base_url.rstrip("/"))
        web_facet = origin(self.base_url)
        if web_facet is None or urlsplit(self.base_url).query:
            raise ConfigError("base_url is not an http(s) URL")
        unknown = set(self.dispatchers) - set(DISPATCHERS)
        if unknown:
            raise ConfigError(f"unknown dispatcher {sorted(unknown)[0]!r}")
        set_(self, "app_id", self.app_id or f"{self.base_url}{CONTEXT_PATH}/uaf/1.1/facets")
        set_(self, "facets", self.facets or (web_facet, LAB_FACET_ID))
        set_(self, "database", self.database or f"sqlite:///{self.home / 'server.sqlite'}")

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


class FileSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[server]` of the file, as written; anything else in it is refused."""

    base_url: str | None = None
    app_id: str | None = None
    facets: tuple[str, ...] | None = None
    versions: tuple[str, ...] | None = None
    dispatchers: tuple[str, ...] | None = None
    link_base_url: str | None = None
    database: str | None = None
    lifetimes: Lifetimes | None = None


def default_home() -> Path:
    """Return the state directory: $XDG_STATE_HOME/fidoloop."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "fidoloop"


def load_config(home: Path, *, fallback_base_url: str | None = None, **overrides: str | None) -> ServerConfig:
    """Return the configuration of `home`; `overrides` that are not None win, `fallback_base_url` is the last resort.

    Raises:
        ConfigError: the file is not TOML, has an unknown member or one of another type, or no base_url is known.
    """
    section = _read_section(home / FILE_NAME)
    values: dict[str, Any] = {name: value for name, value in msgspec.structs.asdict(section).items() if value}
    values |= {name: value for name, value in overrides.items() if value is not None}
    values.setdefault("base_url", fallback_base_url)
    if values["base_url"] is None:
        raise ConfigError("no base URL is known: give --base-url, or base_url in [server] of fidoloop.toml")
    if "versions" in values:
        values["versions"] = tuple(_version(text) for text in values["versions"])
    return ServerConfig(home=home, **values)


def _read_section(path: Path) -> FileSection:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return FileSection()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        return msgspec.convert(document.get("server", {}), FileSection)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: [server]: {error}") from None


def _version(text: str) -> Version:
    major, _, minor = text.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise ConfigError(f"version {text!r} is not of the form 1.1")
    return Version(int(major), int(minor))
