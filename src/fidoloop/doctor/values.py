"""What a check is given, and what it finds."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec


class State(StrEnum):
    """How it stands: fine; something that only some uses need is missing; something that is needed does not work."""

    OK = "ok"
    NOTE = "note"
    BROKEN = "broken"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one check found; `fix` is what to do, empty where there is nothing to do."""

    check: str
    state: State
    said: str
    fix: str = ""


def ok(check: str, said: str) -> Finding:
    """Return that all is well."""
    return Finding(check, State.OK, said)


def note(check: str, said: str, fix: str) -> Finding:
    """Return that something is missing that only some uses need."""
    return Finding(check, State.NOTE, said, fix)


def broken(check: str, said: str, fix: str) -> Finding:
    """Return that something needed does not work."""
    return Finding(check, State.BROKEN, said, fix)


@dataclass(frozen=True)
class Machine:
    """The machine to look at: where its file system begins, the environment, fidoloop's home, a server to ask."""

    home: Path
    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    server: str | None = None
    ca: Path | None = None
    insecure: bool = False
    port: int = 8443
    now: datetime | None = None

    @property
    def time(self) -> datetime:
        """The machine's clock, in UTC."""
        return self.now or datetime.now(UTC)

    def at(self, path: str) -> Path:
        """Return a path that begins at the root of the file system, in this machine's."""
        return self.root / path.lstrip("/")
