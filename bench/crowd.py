"""A home with users, and phones that are enrolled there: what measurements of whole log-ins begin with."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from fidoloop.bridge.http import CONTEXT_PATH
from fidoloop.bridge.load.connection import Endpoint
from fidoloop.bridge.load.flows import Account
from fidoloop.bridge.load.generator import Generator
from fidoloop.bridge.load.phone import SimulatedPhone, software_statement
from fidoloop.lab import LabServer
from fidoloop.server.settings.layers import FILE_NAME

T = TypeVar("T")
_BASE_URL = "http://127.0.0.1:8443"
"""Of all servers over a home, wherever they listen: what is registered is registered for this."""
APP_ID = f"{_BASE_URL}{CONTEXT_PATH}/uaf/1.1/facets"


@dataclass(frozen=True)
class Home:
    """A server's home, its users, and an API credential."""

    directory: Path
    usernames: tuple[str, ...]
    api_key: str

    def generator(self, port: int) -> Generator:
        """Return phones for the server that listens there."""
        return Generator(Endpoint.loopback(port), api_key=self.api_key)

    async def enrolled(self, port: int) -> Generator:
        """Return phones that are enrolled."""
        load = self.generator(port)
        await load.enrol([Account(username, SimulatedPhone.in_software()) for username in self.usernames])
        return load


def make_home(directory: Path, users: int, *, database: str | None = None) -> Home:
    """Make a home on SQLite, or on the database of a URL."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = f'[server]\nbase_url = "{_BASE_URL}"\n'
    if database is not None:
        settings += f'database = "{database}"\nmigrate = true\n'
    (directory / FILE_NAME).write_text(settings, encoding="utf-8")
    lab = LabServer(directory)
    lab.add_metadata([software_statement()])
    usernames = tuple(f"load-{number}" for number in range(users))
    lab.add_user(*usernames)
    return Home(directory, usernames, lab.add_api_key())


def run_quickly(work: Coroutine[Any, Any, T]) -> T:
    """Run to its end in an event loop like the servers'."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
