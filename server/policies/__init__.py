"""Named policies: JSON files shipped here, and the operator's own in `<home>/policies`, which win."""

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.policy import Policy
from fidoloop.server.errors import ConfigError

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class NamedPolicy(NamedTuple):
    """A policy and its compact JSON text."""

    policy: Policy
    text: str


class Policies:
    """All policies by name, read once at start."""

    def __init__(self, directory: Path) -> None:
        """Read the shipped policies and those of `directory`. Raises ConfigError."""
        self._by_name = _read(resources.files(__package__)) | (_read(directory) if directory.is_dir() else {})

    def get(self, name: str) -> NamedPolicy | None:
        """Return the policy `name`, or None; a name is only ever looked up, never made into a path."""
        return self._by_name.get(name)


def _read(directory: Traversable) -> dict[str, NamedPolicy]:
    found = {}
    for entry in directory.iterdir():
        name, dot, suffix = entry.name.rpartition(".")
        if not dot or suffix != "json":
            continue
        if not _NAME.fullmatch(name):
            raise ConfigError(f"policy file {entry.name!r}: a name has letters, digits, - and _ only")
        try:
            policy = strictjson.decode(entry.read_bytes(), Policy)
        except (OSError, MalformedError) as error:
            raise ConfigError(f"policy {name}: {error}") from None
        found[name] = NamedPolicy(policy, strictjson.encode(policy))
    return found
