"""Reads the settings: command line before environment before file before default; each value knows where it is from."""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from fidoloop.server.errors import ConfigError, SettingError
from fidoloop.server.settings.described import ENVIRONMENT_PREFIX, SECTION, Setting, all_settings
from fidoloop.server.settings.toml_lines import MAX_TEXT, line_of, split_error

FILE_NAME = "fidoloop.toml"


class Kind(StrEnum):
    """The layers, lowest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value is from; `where` is FILE:LINE, a variable or an option."""

    kind: Kind
    where: str = ""

    def __str__(self) -> str:
        return self.where or self.kind.value


DEFAULT = Origin(Kind.DEFAULT)


@dataclass(frozen=True, slots=True)
class Layers:
    """The values that were set, by the names of their settings, and their origins."""

    values: Mapping[str, Any]
    origins: Mapping[str, Origin]

    def nested(self) -> dict[str, Any]:
        """Return the values as the sections hold them."""
        found: dict[str, Any] = {}
        for name, value in self.values.items():
            *sections, last = name.split(".")
            inner = found
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[last] = value
        return found

    def origin(self, name: str) -> Origin:
        """Return where the value of the setting `name` is from."""
        return self.origins.get(name, DEFAULT)

    @contextmanager
    def locating(self) -> Iterator[None]:
        """Have a SettingError say where its setting is from. Raises ConfigError."""
        try:
            yield
        except SettingError as error:
            raise ConfigError(f"{self.origin(error.name)}: {error}") from None


def read_layers(
    path: Path, *, environment: Mapping[str, str] = os.environ, options: Mapping[str, object] | None = None
) -> Layers:
    """Return what the file at `path`, the `environment` and the command line's `options` set.

    `options` are by the names of their settings, None where one was not given; texts are taken as the environment's
    are. A file that is not there sets nothing.

    Raises:
        ConfigError: the file is no TOML; a setting that there is not; a value of another type or out of its limits.
    """
    layers = (_file(path), _environment(environment), _command_line(options or {}))
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for layer in layers:
        values |= layer.values
        origins |= layer.origins
    return Layers(values, origins)


def _file(path: Path) -> Layers:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Layers({}, {})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if len(text) > MAX_TEXT:
        raise ConfigError(f"{path}: more than {MAX_TEXT} characters")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, reason = split_error(error, text)
        raise ConfigError(f"{path}:{line}: {reason}") from None
    other = next((name for name in document if name != SECTION), None)
    if other is not None:
        raise ConfigError(f"{path}:{line_of(text, [other])}: {other}: not a section; there is [{SECTION}] only")

    def origin(keys: tuple[str, ...]) -> Origin:
        return Origin(Kind.FILE, f"{path}:{line_of(text, [SECTION, *keys])}")

    values, origins = {}, {}
    for keys, value in _leaves(document.get(SECTION, {}), ()):
        where = origin(keys)
        setting = _known(".".join(keys), where)
        values[setting.name] = _convert(setting, value, where, strict=True)
        origins[setting.name] = where
    return Layers(values, origins)


def _leaves(value: object, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
    sections = {setting.path[: len(path)] for setting in all_settings().values() if len(setting.path) > len(path)}
    if not isinstance(value, dict) or path not in sections:
        return [(path, value)]
    return [leaf for name, inner in value.items() for leaf in _leaves(inner, (*path, name))]


def _environment(environment: Mapping[str, str]) -> Layers:
    by_variable = {setting.variable: setting for setting in all_settings().values()}
    values, origins = {}, {}
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        setting = by_variable.get(variable)
        if setting is None:
            raise ConfigError(f"{variable}: no setting has this variable{_like(variable, by_variable)}")
        origin = Origin(Kind.ENVIRONMENT, variable)
        values[setting.name] = _from_text(setting, text, origin)
        origins[setting.name] = origin
    return Layers(values, origins)


def _command_line(options: Mapping[str, object]) -> Layers:
    values, origins = {}, {}
    for name, value in options.items():
        if value is None:
            continue
        setting = _known(name, Origin(Kind.COMMAND_LINE, "command line"))
        origin = Origin(Kind.COMMAND_LINE, setting.option)
        text = isinstance(value, str)
        values[name] = _from_text(setting, str(value), origin) if text else _convert(setting, value, origin)
        origins[name] = origin
    return Layers(values, origins)


def _known(name: str, origin: Origin) -> Setting:
    setting = all_settings().get(name)
    if setting is None:
        is_section = not name or any(known.startswith(f"{name}.") for known in all_settings())
        what = "a section, not a value" if is_section else f"not a setting{_like(name, all_settings())}"
        raise ConfigError(f"{origin}: {name or SECTION}: {what}")
    return setting


def _like(name: str, names: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _from_text(setting: Setting, text: str, origin: Origin) -> object:
    value = [part.strip() for part in text.split(",") if part.strip()] if setting.is_list else text
    return _convert(setting, value, origin, strict=False)


def _convert(setting: Setting, value: object, origin: Origin, *, strict: bool = True) -> object:
    """Return `value` as the setting's type; an error never shows it, as it may be a secret."""
    try:
        return msgspec.convert(value, setting.type, strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {setting.name}: {_in_words(setting, str(error))}") from None


def _in_words(setting: Setting, reason: str) -> str:
    text, _, where = reason.partition(" - at `$")
    if text.startswith("Invalid enum value"):
        text = f"not one of {', '.join(setting.choices)}"
    return f"{text[:1].lower()}{text[1:]}" + (f" (entry {where.strip('`[]')})" if where else "")
