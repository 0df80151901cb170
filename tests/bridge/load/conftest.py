"""A server that knows the model of simulated phones with their keys in memory."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from fidoloop.bridge.http import Server
from fidoloop.bridge.laptop import Laptop
from fidoloop.bridge.load.connection import Endpoint
from fidoloop.bridge.load.flows import Account
from fidoloop.bridge.load.phone import SimulatedPhone, software_statement
from fidoloop.lab import LabServer


@dataclass(frozen=True)
class LoadLab:
    """A running server, and what a load needs of it."""

    server: LabServer
    api_key: str
    endpoint: Endpoint
    laptop: Laptop
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def usernames(self, number: int) -> tuple[str, ...]:
        """Add users."""
        names = tuple(f"load-{next(self._numbers)}" for _ in range(number))
        self.server.add_user(*names)
        return names

    def accounts(self, number: int = 3) -> list[Account]:
        """Add users, whose phones are not enrolled yet."""
        return [Account(name, SimulatedPhone.in_software()) for name in self.usernames(number)]


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadLab]:
    server = LabServer(tmp_path_factory.mktemp("load"))
    server.add_metadata([software_statement()])
    api_key = server.add_api_key()
    with server, Server(server.url, ca=server.ca, api_key=api_key) as connection:
        yield LoadLab(server, api_key, Endpoint.of(server.url, ca=server.ca), Laptop(connection))
