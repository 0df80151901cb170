"""The settings as a list: what each is called in the file, in the environment and on the command line."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from fidoloop.server.settings.declared import Settings

SECTION = "server"
ENVIRONMENT_PREFIX = "FIDOLOOP_SERVER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `path` is where it stands below `[server]`; `type` carries its limits."""

    path: tuple[str, ...]
    type: Any
    default: Any
    description: str
    unit: str
    is_secret: bool

    @property
    def name(self) -> str:
        """As it is spoken of, below `[server]`: lifetimes.registration_token."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + "_".join(self.path).upper()

    @property
    def option(self) -> str:
        """Its option, where a command has one for it."""
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def is_list(self) -> bool:
        """Whether it holds several values."""
        return get_origin(get_args(self.type)[0]) is tuple

    @property
    def kind(self) -> str:
        """Its type in a word or two."""
        value = get_args(self.type)[0]
        if self.is_list:
            return "list of texts"
        return {bool: "truth", int: "number"}.get(value, "text")

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that it, or each entry of it, may have; none where they are not listed."""
        value = get_args(self.type)[0]
        value = get_args(value)[0] if self.is_list else value
        return get_args(value) if get_origin(value) is Literal else ()


@cache
def all_settings() -> dict[str, Setting]:
    """Return every setting by its name, in the order of their declaration."""
    return {setting.name: setting for setting in _of(Settings, ())}


def _of(struct: type[msgspec.Struct], path: tuple[str, ...]) -> list[Setting]:
    found = []
    types = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        type_, here = types[field.name], (*path, field.name)
        if get_origin(type_) is not Annotated:
            found += _of(type_, here)
            continue
        meta = next(entry for entry in get_args(type_)[1:] if isinstance(entry, Meta))
        extra = meta.extra or {}
        found.append(
            Setting(
                path=here,
                type=type_,
                default=field.default,
                description=meta.description or "",
                unit=extra.get("unit", ""),
                is_secret=extra.get("secret", False),
            )
        )
    return found
