"""The settings as they would be in effect, for people to look at."""

from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgspec

from fidoloop.server.config import make_config
from fidoloop.server.settings.declared import Settings
from fidoloop.server.settings.described import Setting, all_settings
from fidoloop.server.settings.layers import FILE_NAME, Origin, read_layers


class Effective(NamedTuple):
    """One setting, its value (secrets left out) and where that is from."""

    setting: Setting
    value: Any
    origin: Origin


def effective_settings(home: Path, options: dict[str, object]) -> list[Effective]:
    """Return every setting of `home` as `server run` with `options` would have it. Raises ConfigError."""
    layers = read_layers(home / FILE_NAME, options=options)
    plain = msgspec.convert(layers.nested(), Settings)
    scheme = "http" if plain.insecure else "https"
    config = make_config(home, layers, fallback_base_url=f"{scheme}://localhost:{plain.port}")
    return [
        Effective(setting, _shown(setting, _value(config, setting)), layers.origin(name))
        for name, setting in all_settings().items()
    ]


def _value(config: object, setting: Setting) -> object:
    for name in setting.path:
        config = getattr(config, name)
    return config


def _shown(setting: Setting, value: object) -> object:
    """Return a value without the password of its URL; what stands in the query may be one too."""
    if not (setting.is_secret and isinstance(value, str)):
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return "(hidden)"
    if not (parts.netloc or parts.query):
        return value
    user, has_password, _ = parts.netloc.rpartition("@")[0].partition(":")
    host = parts.netloc.rpartition("@")[2]
    shown = f"{user}:(hidden)@{host}" if has_password else parts.netloc
    return urlunsplit((parts.scheme, shown, parts.path, "(hidden)" if parts.query else "", ""))
