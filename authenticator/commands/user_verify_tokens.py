"""User-verify tokens: a verification of the user that was done apart from the command it is for (digest section 7)."""

import hmac
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.protocol.uaf.registry import UserVerification

LIFETIME_SECONDS: Final = 30.0
TOKEN_BYTES: Final = 32


class UserVerifyTokens:
    """At most one token at a time, good for one operation within a short time; safe between threads."""

    def __init__(self, *, lifetime: float = LIFETIME_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """Take how long a token lasts, in seconds of `clock`."""
        self._lifetime = lifetime
        self._clock = clock
        self._lock = threading.Lock()
        self._issued: tuple[bytes, UserVerification, float] | None = None

    def issue(self, verification: UserVerification) -> bytes:
        """Return a token for a user who was just verified this way; the one before it is void."""
        token = os.urandom(TOKEN_BYTES)
        with self._lock:
            self._issued = (token, verification, self._clock() + self._lifetime)
        return token

    def verification(self, token: bytes) -> UserVerification:
        """Return how the user was verified whom `token` stands for. Raises AuthenticatorError: ACCESS_DENIED."""
        with self._lock:
            if self._issued is not None:
                issued, verification, ends = self._issued
                if self._clock() < ends and hmac.compare_digest(issued, token):
                    return verification
        raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "no such user-verify token, or its time is over")

    def spend(self) -> None:
        """Void the token: the operation it was for is done, or the session it was of has ended."""
        with self._lock:
            self._issued = None
