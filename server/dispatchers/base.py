"""What a dispatcher is."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from fidoloop.protocol.uaf.messages import Operation


class DispatchError(Exception):
    """The payload could not be dispatched; the text is for the caller."""


class AddressGoneError(DispatchError):
    """The target's address leads nowhere any more; the target itself is to be `removed` if so configured."""

    def __init__(self, text: str, *, remove: bool = False) -> None:
        super().__init__(text)
        self.remove = remove


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A payload's JSON text on its way: the dispatchInformation beside it, and whose token it is.

    `address` is the target's, where there is one; `seconds` are what the token has left to live.
    """

    payload: str
    information: dict[str, Any]
    op: Operation
    session_id: str
    seconds: int
    address: str | None = None


class Dispatcher(Protocol):
    """Takes a payload on its way to the phone."""

    name: ClassVar[str]
    needs_target: ClassVar[bool]
    needs_address: ClassVar[bool]
    """Whether the target needs an address: then it has none before its registration, and may expire."""
    shown: ClassVar[bool]
    """Whether the caller shows its answer, and it needs no target: then it is asked before the token is stored."""

    def check(self, information: dict[str, Any]) -> None:
        """Refuse dispatchInformation that is not this dispatcher's. Raises MalformedError."""
        ...

    def check_address(self, address: str) -> None:
        """Refuse an address: MalformedError where it is none of this dispatcher's, AddressError where not allowed."""
        ...

    async def dispatch(self, outgoing: Outgoing) -> str:
        """Send a payload and return dispatcherInformation.response. Raises DispatchError."""
        ...

    async def close(self) -> None:
        """Close what it holds open."""
        ...


class AddressError(Exception):
    """An address that this server does not send to; the text is for the caller."""


class ShownDispatcher:
    """A dispatcher that sends nothing itself: the caller shows its answer to the phone."""

    needs_target: ClassVar[bool] = False
    needs_address: ClassVar[bool] = False
    shown: ClassVar[bool] = True

    def check(self, information: dict[str, Any]) -> None:
        """Take any dispatchInformation."""

    def check_address(self, address: str) -> None:
        """Take any address: it is not used."""

    async def close(self) -> None:
        """Hold nothing open."""
