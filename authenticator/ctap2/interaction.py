"""What the user does: presence, and verification by the authenticator itself, through the interface UAF has, too."""

from collections.abc import Callable
from threading import Event

from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.errors import ERR, status_of
from fidoloop.authenticator.errors import AuthenticatorError
from fidoloop.authenticator.user_verification import UserVerifier, VerificationRequest
from fidoloop.protocol.uaf.registry import UserVerification


class Interaction:
    """Asks the user; what can only be presence is never called verification.

    For one command, `cancelled` is what calls it off, and `on_asking` is called when the user is about to be asked.
    """

    def __init__(self, verifier: UserVerifier) -> None:
        """Take the verifier. Raises ValueError for one that asks nobody: FIDO2 wants presence to be tested."""
        if verifier.method is UserVerification.NONE:
            raise ValueError("a CTAP2 authenticator tests the user's presence: this user verifier asks nobody")
        self._verifier = verifier
        self.cancelled = Event()
        self.on_asking: Callable[[], None] | None = None

    @property
    def verifies(self) -> bool:
        """Whether it can tell who the user is (getInfo's option uv)."""
        return self._verifier.method not in (UserVerification.NONE, UserVerification.PRESENCE)

    def presence(self, operation: str, rp_id: str = "", username: str | None = None) -> None:
        """Ask for a sign of the user's presence.

        Raises:
            CtapError: OPERATION_DENIED, USER_ACTION_TIMEOUT, KEEPALIVE_CANCEL.
        """
        try:
            self._ask(VerificationRequest(operation, rp_id, username))
        except AuthenticatorError as error:
            status = status_of(error)
            raise CtapError(ERR.OPERATION_DENIED if status is ERR.UV_BLOCKED else status) from None

    def verification(self, operation: str, rp_id: str = "", username: str | None = None) -> None:
        """Let the authenticator verify the user, who is present by that.

        Raises:
            AuthenticatorError: the user was not verified; CtapError: KEEPALIVE_CANCEL.
        """
        done = self._ask(VerificationRequest(operation, rp_id, username))
        if done in (UserVerification.NONE, UserVerification.PRESENCE):
            raise CtapError(ERR.OPERATION_DENIED)

    def _ask(self, request: VerificationRequest) -> UserVerification:
        self._check_cancelled()
        if self.on_asking is not None:
            self.on_asking()
        done = self._verifier.verify(request)
        self._check_cancelled()
        if done is UserVerification.NONE:
            raise CtapError(ERR.OPERATION_DENIED)
        return done

    def _check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise CtapError(ERR.KEEPALIVE_CANCEL)
