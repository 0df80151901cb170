"""The server under test: the plugin's own, or one that was started elsewhere."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fidoloop.api.laptop import Laptop
from fidoloop.api.phone import MetadataStatement
from fidoloop.api.server import LabServer
from fidoloop.bridge.http import Server
from fidoloop.server.settings.layers import FILE_NAME
from fidoloop.testing.messages import Message, Messages

__all__ = [
    "Enrol",
    "NewUser",
    "Publish",
    "ServerUnderTest",
    "dispatched_enrolment",
    "new_username",
    "own_server",
]

_numbers = itertools.count(1)

NewUser = Callable[[], str]
"""Makes sure that there is a user, and returns the name."""
Enrol = Callable[[str], str]
"""Returns the registration token of a user, as the text of its QR code."""
Publish = Callable[[Sequence[MetadataStatement]], None]
"""Makes the server know models."""


@dataclass(frozen=True)
class ServerUnderTest:
    """A server: its base URL, the CA to trust (None: the system's), the API credential.

    `local` is the plugin's own server and what its operator can do; None where it was started elsewhere.
    """

    url: str
    ca: Path | None
    api_key: str | None
    local: LabServer | None = None

    def send_again(self, message: Message) -> Message:
        """Send a request that was sent before once more, byte for byte, as somebody would who recorded it.

        Raises:
            NetworkError: the server is not reached.
        """
        seen = Messages()
        with Server(self.url, ca=self.ca, insecure=self.ca is None, recorder=seen.record) as connection:
            wanted = ("content-type", "accept", "authorization")
            headers = {name: value for name, value in message.exchange.request_headers.items() if name in wanted}
            content = message.exchange.request_body.encode("utf-8")
            connection.send(message.method, self.url + message.path, content=content, headers=headers)
        return seen.last()


def new_username() -> str:
    """Return a name that no user of this process's servers has."""
    return f"user-{next(_numbers)}"


@contextmanager
def own_server(directory: Path, *, settings: str = "", tls: bool = True) -> Iterator[ServerUnderTest]:
    """Run a server in `directory`, its fidoloop.toml the text `settings`. Raises LabError, which has its log."""
    server = LabServer(directory / "home", tls=tls)
    server.home.mkdir(parents=True)
    (server.home / FILE_NAME).write_text(settings, encoding="utf-8")
    api_key = server.add_api_key()
    with server:
        yield ServerUnderTest(server.url, server.ca if tls else None, api_key, server)


def dispatched_enrolment(server: ServerUnderTest, username: str) -> str:
    """Return a registration token for a user, asked for by a dispatch as a QR code. Raises BridgeError."""
    with Laptop(server.url, ca=server.ca, api_key=server.api_key) as laptop:
        return laptop.shown(laptop.dispatch(username, operation="Reg", dispatcher="png-qr-code"))
