"""Named policies: JSON files shipped here, and the operator's own in `<home>/policies`, which win."""

import json
import logging
import re
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.policy import Policy
from fidoloop.protocol.uaf.policy_rules import check_policy
from fidoloop.server.errors import ConfigError
from fidoloop.server.watched_files import WatchedFiles

DEFAULT = "default"
MAX_POLICY_BYTES = 262144
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_log = logging.getLogger("fidoloop.server.policies")


class NamedPolicy(NamedTuple):
    """A policy and its compact JSON text."""

    policy: Policy
    text: str


class Policies:
    """All policies by name.

    A file that cannot be used stops the start. Later a changed file is taken up within a second, and one that cannot be
    used is reported in the log: what was known from it stays.
    """

    def __init__(self, directory: Path) -> None:
        """Read the shipped policies and those of `directory`. Raises ConfigError."""
        self._shipped = shipped_policies()
        self._files = WatchedFiles(directory, _read_named, _log)
        self._by_name = self._shipped | own_policies(directory)

    def refresh(self, now: int) -> bool:
        """Look at the directory again; tell whether anything changed. `now` is in epoch milliseconds."""
        if not self._files.refresh(now):
            return False
        own = {name.removesuffix(".json"): policy for name, policy in self._files.values().items()}
        self._by_name = self._shipped | own
        return True

    def get(self, name: str) -> NamedPolicy | None:
        """Return the policy `name`, or None; a name is only ever looked up, never made into a path."""
        return self._by_name.get(name)


def shipped_policies() -> dict[str, NamedPolicy]:
    """Return the policies that come with the server, by name."""
    files = (entry for entry in resources.files(__package__).iterdir() if entry.name.endswith(".json"))
    return {entry.name.removesuffix(".json"): parse_policy(entry.read_bytes(), entry.name) for entry in files}


def own_policies(directory: Path) -> dict[str, NamedPolicy]:
    """Return the operator's policies, by name. Raises ConfigError."""
    try:
        return {path.stem: _read_named(path) for path in sorted(directory.glob("*.json"))}
    except OSError as error:
        raise ConfigError(f"policies: {error}") from None
    except MalformedError as error:
        raise ConfigError(f"policies: {error}") from None


def parse_policy(document: bytes, where: str) -> NamedPolicy:
    """Return the policy in a file's `document`, which must keep to the rules for policies that are sent.

    Raises:
        MalformedError: it is none, has a member that nobody knows, or breaks a rule; with `where` and the place in it.
    """
    if len(document) > MAX_POLICY_BYTES:
        raise MalformedError(where, f"{len(document)} bytes, at most {MAX_POLICY_BYTES} allowed")
    root = f"{where}: $"
    try:
        value = strictjson.loads(document, root)
    except MalformedError as error:
        raise _with_line(document, where) or error from None
    policy = strictjson.convert(value, Policy, root)
    # Whoever reads a policy skips what he does not know; whoever writes one has mistyped it.
    _check_members(value, msgspec.to_builtins(policy), root)
    check_policy(policy, root)
    return NamedPolicy(policy, strictjson.encode(policy))


def _read_named(path: Path) -> NamedPolicy:
    if not _NAME.fullmatch(path.stem):
        raise MalformedError(path.name, "the name of a policy has up to 64 letters, digits, - and _ only")
    return parse_policy(path.read_bytes(), path.name)


def _with_line(document: bytes, where: str) -> MalformedError | None:
    """Return what is wrong with a text that is no JSON, with its line; None where it is anything else."""
    try:
        json.loads(document)
    except json.JSONDecodeError as error:
        return MalformedError(f"{where}:{error.lineno}", f"not JSON: {error.msg} (column {error.colno})")
    except ValueError:
        return None
    return None


def _check_members(found: Any, known: Any, where: str) -> None:  # noqa: ANN401 - any JSON
    if isinstance(found, dict):
        for name, value in found.items():
            if name not in known:
                raise MalformedError(f"{where}.{name[:40]}", "no such member")
            _check_members(value, known[name], f"{where}.{name}")
    elif isinstance(found, list):
        for index, (value, as_read) in enumerate(zip(found, known, strict=True)):
            _check_members(value, as_read, f"{where}[{index}]")
