"""What a dispatcher is."""

from typing import Any, Protocol

from fidoloop.server.config import ServerConfig


class DispatchError(Exception):
    """The payload could not be dispatched; the text is for the caller."""


class Dispatcher(Protocol):
    """Takes a payload on its way to the phone."""

    name: str
    needs_target: bool

    def check(self, information: dict[str, Any]) -> None:
        """Refuse dispatchInformation that is not this dispatcher's. Raises MalformedError."""
        ...

    async def dispatch(self, config: ServerConfig, payload: str, information: dict[str, Any]) -> str:
        """Send the payload's JSON text and return dispatcherInformation.response. Raises DispatchError."""
        ...
