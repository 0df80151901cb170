"""The phone's FIDO side for the app: UAF by its authenticators, passkeys by its CTAP2 authenticator."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Self

from fidoloop.bridge.passkeys import Passkeys
from fidoloop.bridge.phone import CarriedOut, Phone


class PhoneFido:
    """What a phone makes for the app is kept when the server took it, and undone at the end where it did not.

    `passkeys` opens the phone's passkeys, the first time that one is asked for.
    """

    def __init__(self, phone: Phone, base_url: str, passkeys: Callable[[], AbstractContextManager[Passkeys]]) -> None:
        """Take an open phone."""
        self._phone, self._base_url, self._open_passkeys = phone, base_url, passkeys
        self._stack = ExitStack()
        self._carried: CarriedOut | None = None
        self._passkeys: Passkeys | None = None
        self._made: str | None = None

    def uaf(self, uaf_request: str) -> str:
        """Carry out a UAF request. Raises ClientFailureError."""
        self._carried = self._stack.enter_context(self._phone.carrying_out(self._base_url, uaf_request))
        return self._carried.response

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Make a passkey. Raises BridgeError."""
        made = self._known_passkeys().create(self._base_url, options)
        self._made = str(made["id"])
        return made

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Sign by a passkey. Raises BridgeError."""
        return self._known_passkeys().get(self._base_url, options)

    def keep(self) -> None:
        """Keep what was made."""
        if self._carried is not None:
            self._carried.keep()
        self._made = None

    def undo(self) -> None:
        """Undo what was made."""
        if self._made is not None:
            self._known_passkeys().delete(self._made)
            self._made = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _known_passkeys(self) -> Passkeys:
        if self._passkeys is None:
            self._passkeys = self._stack.enter_context(self._open_passkeys())
        return self._passkeys
