"""User verification: a small interface that reports what really happened, never what was hoped.

Design, principle 8.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.hsm.errors import PinIncorrect, PinLocked
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol.uaf.registry import UserVerification

PIN_TRIES = 3


class VerificationRequest(msgspec.Struct, frozen=True):
    """What the user is asked to approve: one operation for one application, and the transaction if there is one.

    A transaction is a text or, as PNG, an image.
    """

    operation: str
    app_id: str
    username: str | None = None
    transaction_text: str | None = None
    transaction_image: bytes | None = None


class UserVerifier(Protocol):
    """Verifies the user for one operation. `method` is what it can do; models are chosen by it."""

    @property
    def method(self) -> UserVerification:
        """PASSCODE, PRESENCE or NONE."""

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Show `request` to the user, verify, and return what was verified.

        Raises:
            AuthenticatorError: USER_CANCELLED, ACCESS_DENIED, USER_NOT_RESPONSIVE or USER_LOCKOUT.
        """

    def choose(self, usernames: Sequence[str]) -> int:
        """Let the user choose an account; return its index. Raises as `verify`."""


class TokenPin:
    """The token's own PIN, asked for each operation and checked by the token (PASSCODE)."""

    method = UserVerification.PASSCODE

    def __init__(
        self,
        store: KeyStore,
        ask: Callable[[VerificationRequest, int], str | None],
        choose: Callable[[Sequence[str]], int | None] | None = None,
    ) -> None:
        """Take how to ask: `ask(request, tries_left)` returns the PIN typed, or None where the user gave up."""
        self._store = store
        self._ask = ask
        self._choose = choose

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Ask up to three times; the token decides."""
        for tries_left in range(PIN_TRIES, 0, -1):
            pin = self._ask(request, tries_left)
            if pin is None:
                raise AuthenticatorError(CommandStatus.USER_CANCELLED, "no PIN was given")
            try:
                self._store.verify_pin(pin)
            except PinIncorrect:
                continue
            except PinLocked:
                raise AuthenticatorError(CommandStatus.USER_LOCKOUT, "the token's PIN is locked") from None
            return UserVerification.PASSCODE
        raise AuthenticatorError(CommandStatus.ACCESS_DENIED, f"{PIN_TRIES} wrong PINs")

    def choose(self, usernames: Sequence[str]) -> int:
        """Return the user's choice."""
        return _chosen(self._choose, usernames)


class Prompt:
    """A question the user answers with yes or no (PRESENCE: somebody is there, nobody knows who)."""

    method = UserVerification.PRESENCE

    def __init__(
        self,
        confirm: Callable[[VerificationRequest], bool | None],
        choose: Callable[[Sequence[str]], int | None] | None = None,
    ) -> None:
        """Take how to ask: `confirm(request)` returns yes, no, or None where nobody answered in time."""
        self._confirm = confirm
        self._choose = choose

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Ask once."""
        answer = self._confirm(request)
        if answer is None:
            raise AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody answered")
        if not answer:
            raise AuthenticatorError(CommandStatus.USER_CANCELLED, "the user said no")
        return UserVerification.PRESENCE

    def choose(self, usernames: Sequence[str]) -> int:
        """Return the user's choice."""
        return _chosen(self._choose, usernames)


class InTheField:
    """A contactless card: who puts it into the reader's field is present (CTAP 2.1, section 5: evidence of user
    interaction).
    """

    method = UserVerification.PRESENCE

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Report presence: without it the card would have no power."""
        return UserVerification.PRESENCE

    def choose(self, usernames: Sequence[str]) -> int:
        """Take the newest account."""
        return len(usernames) - 1


class AutoApprove:
    """Nobody is asked (NONE): only models that claim no verification accept it."""

    method = UserVerification.NONE

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Report that nothing was verified."""
        return UserVerification.NONE

    def choose(self, usernames: Sequence[str]) -> int:
        """Take the newest account, the last one (authenticator commands 6.3.4: ordered by registration)."""
        return len(usernames) - 1


class NotVerifiedHere:
    """For authenticators whose users are verified apart, which a user-verify token tells: without one, refuse."""

    def __init__(self, method: UserVerification) -> None:
        """Take how users are verified there."""
        self.method = method

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Refuse."""
        raise AuthenticatorError(CommandStatus.ACCESS_DENIED, f"the user was not verified for the {request.operation}")

    def choose(self, usernames: Sequence[str]) -> int:
        """Refuse: whoever is asked about keys gives the handles of those meant."""
        raise AuthenticatorError(CommandStatus.ACCESS_DENIED, f"{len(usernames)} accounts, and nobody to choose here")


class Deny:
    """The user says no to everything, for tests and teaching; `method` is that of the models to refuse with."""

    def __init__(self, method: UserVerification = UserVerification.PRESENCE) -> None:
        """Take the method that the phone's models claim."""
        self.method = method

    def verify(self, request: VerificationRequest) -> UserVerification:
        """Refuse."""
        raise AuthenticatorError(CommandStatus.USER_CANCELLED, f"the user refused the {request.operation}")

    def choose(self, usernames: Sequence[str]) -> int:
        """Refuse."""
        raise AuthenticatorError(CommandStatus.USER_CANCELLED, f"the user chose none of {len(usernames)} accounts")


def _chosen(choose: Callable[[Sequence[str]], int | None] | None, usernames: Sequence[str]) -> int:
    index = choose(usernames) if choose is not None else len(usernames) - 1
    if index is None or not 0 <= index < len(usernames):
        raise AuthenticatorError(CommandStatus.USER_CANCELLED, "no account was chosen")
    return index
