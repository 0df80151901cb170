"""The configuration in effect: the settings, and what follows from them."""

import os
import re
import ssl
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.facets import MAX_LIST_BYTES, encode_trusted_facets, origin, why_discarded
from fidoloop.protocol.uaf.messages import Version
from fidoloop.server.errors import ConfigError, SettingError
from fidoloop.server.fido2.configured import filled_fido2
from fidoloop.server.settings.app_links import ANDROID, APPLE
from fidoloop.server.settings.declared import Settings
from fidoloop.server.settings.layers import FILE_NAME, Layers, read_layers

_LINK_BASE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!$&(-;=?-Z_a-z~%@]+")
_NO_APP = frozenset({"javascript", "data", "vbscript", "file", "blob"})
CONTEXT_PATH = "/nevisfido"
FIDO2_METADATA = "fido2-metadata"
"""In a home directory: the metadata of FIDO2 and U2F models."""
RESTORE_PENDING = "restore.pending"
"""In a home directory: what a restore that was interrupted has not put into its place."""


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
        self._check_transport()
        _check_link_base(self.link_base_url)
        self._check_push()
        self._check_app_links()
        self._check_lab()
        for name in ("exempt", "trusted_proxies"):
            _check_networks(f"rate_limits.{name}", getattr(self.rate_limits, name))
        if len(set(self.uaf_versions)) < len(self.uaf_versions):
            raise SettingError("uaf_versions", "one of them twice")
        fill("fido2", filled_fido2(self.fido2, web_facet))
        fill("versions", tuple(Version(*map(int, text.split("."))) for text in self.uaf_versions))
        self._check_app_id()
        fill("app_id", self.app_id or f"{self.base_url}{CONTEXT_PATH}/uaf/1.1/facets")
        self._check_facets()
        fill("facets", self.facets or (web_facet, LAB_FACET_ID))
        fill("database", self.database or f"sqlite:///{self.home / 'server.sqlite'}")

    def _check_app_id(self) -> None:
        if not self.app_id.startswith(("http:", "https:")):
            return  # the server's own list, or a facet itself, which has none
        if origin(self.app_id) is None or (self.app_id.startswith("http:") and not self.insecure):
            raise SettingError("app_id", "not an https URL, from which clients could read the facets")

    def _check_facets(self) -> None:
        """Refuse facets that no client takes from the list; in a lab without TLS its own pages are none of them."""
        if not self.app_id.startswith(("http:", "https:")):
            return
        lab = self.app_id.startswith("http:")
        for facet in self.facets:
            why = why_discarded(facet, app_id=self.app_id)
            if why is not None and not (lab and facet.startswith("http:")):
                raise SettingError("facets", f"{facet[:100]}: {why}: clients would not take it")
        if len(encode_trusted_facets(self.facets)) > MAX_LIST_BYTES:
            raise SettingError("facets", f"their list is larger than the {MAX_LIST_BYTES} bytes that clients read")

    def _check_transport(self) -> None:
        if self.insecure and not is_loopback(self.host):
            raise SettingError("insecure", f"plain http is for loopback addresses only, not {self.host}")
        for name, other in (("cert", "key"), ("key", "cert")):
            if getattr(self.tls, name) and not getattr(self.tls, other):
                raise SettingError(f"tls.{name}", f"needs tls.{other} beside it")
        if self.insecure and self.tls.cert:
            raise SettingError("insecure", "plain http shows no certificate; set either insecure or tls.cert")

    def _check_lab(self) -> None:
        """Refuse a lab console that others could reach, unless that is said, and by TLS only."""
        if not self.lab:
            return
        if not self.web:
            raise SettingError("lab", "the lab console is a page, and needs the setting web")
        if self.workers > 1:
            raise SettingError("lab", "what the lab console records is in one process: set workers to 1")
        name = urlsplit(self.base_url).hostname or ""
        if is_loopback(self.host) and is_loopback(name):
            return
        where = name if is_loopback(self.host) else self.host
        if not self.lab_anywhere:
            raise SettingError("lab", f"{where} is no loopback address: set lab_anywhere if others may reach the lab")
        if not self.base_url.startswith("https:"):
            raise SettingError("lab", f"{where} is no loopback address, and plain http is for those only")

    def _check_app_links(self) -> None:
        for name, form, what in (
            ("android", ANDROID, "a package name, a space and a SHA-256 fingerprint (AA:BB:…, 32 bytes)"),
            ("apple", APPLE, "a team id of ten characters, a dot and a bundle id"),
        ):
            for text in getattr(self.app_links, name):
                if not form.fullmatch(text):
                    raise SettingError(f"app_links.{name}", f"{text[:100]}: not {what}")

    def _check_push(self) -> None:
        _check_networks("web_push.networks", self.web_push.networks)
        if self.web_push.ca:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.web_push.ca)
            except OSError as error:  # ssl.SSLError is one
                raise SettingError("web_push.ca", f"{self.web_push.ca}: {error}") from None
        if "firebase-cloud-messaging" in self.dispatchers and not self.fcm.service_account:
            raise SettingError("fcm.service_account", "the dispatcher firebase-cloud-messaging needs it")
        for name in ("endpoint", "token_uri"):
            url = getattr(self.fcm, name)
            if url and not is_safe_url(url):
                raise SettingError(f"fcm.{name}", "not an https URL (plain http is for the loopback only)")

    @property
    def metadata_directory(self) -> Path:
        """Where the metadata statements are."""
        return self.home / "metadata"

    @property
    def fido2_metadata_directory(self) -> Path:
        """Where the metadata of FIDO2 and U2F models is."""
        return self.home / FIDO2_METADATA

    @property
    def policy_directory(self) -> Path:
        """Where the operator's own policies are."""
        return self.home / "policies"

    @property
    def tls_directory(self) -> Path:
        """Where the lab CA and the server's certificate are."""
        return self.home / "tls"

    @property
    def vapid_key(self) -> Path:
        """Where the key is by which push services know this server."""
        return self.tls_directory / "vapid.key"

    @property
    def oauth_directory(self) -> Path:
        """Where the authorization server's and the attester's keys, the device policy and the anchors are."""
        return self.home / "oauth"


def _check_networks(name: str, networks: tuple[str, ...]) -> None:
    for text in networks:
        try:
            ip_network(text)
        except ValueError:
            raise SettingError(name, f"{text} is not a network such as 10.0.0.0/8") from None


def _check_link_base(url: str) -> None:
    """Refuse what links cannot begin with: in plain http they would show their token to whoever is between."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if not _LINK_BASE.fullmatch(url) or parts.fragment or parts.scheme.lower() in (_NO_APP | {""}):
        raise SettingError("link_base_url", "not a URL without a fragment that an app could be opened by")
    if parts.scheme.lower() == "http" and not is_loopback(parts.hostname or ""):
        raise SettingError("link_base_url", "plain http is for loopback addresses only")


def is_safe_url(url: str) -> bool:
    """Tell whether a URL is https, or http to this machine itself."""
    found = origin(url)
    return found is not None and (found.startswith("https:") or is_loopback(urlsplit(url).hostname or ""))


def is_loopback(host: str) -> bool:
    """Tell whether `host` names this machine to itself only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


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


def make_config(
    home: Path, layers: Layers, *, fallback_base_url: str | None = None, while_restoring: bool = False
) -> ServerConfig:
    """Return the configuration of the settings in `layers`; see `load_config`.

    Raises:
        ConfigError: as `load_config`, or a restore was interrupted there.
    """
    if not while_restoring and (home / RESTORE_PENDING).exists():
        raise ConfigError(f"{home}: a restore was interrupted; run `server restore` with --force again")
    values = layers.nested()
    values["base_url"] = values.get("base_url") or fallback_base_url
    if values["base_url"] is None:
        raise ConfigError("no base URL is known: give --base-url, or base_url in [server] of fidoloop.toml")
    with layers.locating():
        return msgspec.convert({**values, "home": str(home)}, ServerConfig, dec_hook=lambda type_, value: type_(value))
