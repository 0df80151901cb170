"""The pinUvAuthToken: what the platform proves by that a user was verified (CTAP 2.1, section 6.5.2.1)."""

import os
from collections.abc import Callable
from typing import Final

from fido2.ctap2.pin import ClientPin, PinProtocol

from fidoloop.authenticator.ctap2.pin_protocols import verify

Permission = ClientPin.PERMISSION
TOKEN_BYTES: Final = 32
USER_PRESENT_SECONDS: Final = 30.0
INITIAL_USE_SECONDS: Final = 30.0
"""Within which a token has to be used for the first time."""
MAX_USE_SECONDS: Final = 600.0


class PinUvAuthToken:
    """At most one token is in use, of one protocol; getting another makes it void."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take a monotonic clock, in seconds."""
        self._clock = clock
        self.stop()

    def stop(self) -> None:
        """Make the token void."""
        self._protocol: PinProtocol | None = None
        self._value = b""
        self.permissions = Permission(0)
        self.rp_id: str | None = None
        self._user_verified = False
        self._user_present = False
        self._begun = 0.0
        self._used = False

    def begin(self, protocol: PinProtocol, permissions: Permission, rp_id: str | None, *, user_present: bool) -> bytes:
        """Make a new token (resetPinUvAuthToken, beginUsingPinUvAuthToken) and return its 32 bytes."""
        self.stop()
        self._protocol = protocol
        self._value = os.urandom(TOKEN_BYTES)
        self.permissions, self.rp_id = permissions, rp_id
        self._user_verified, self._user_present = True, user_present
        self._begun = self._clock()
        return self._value

    def verify(self, version: int, message: bytes, parameter: bytes) -> bool:
        """Tell whether `parameter` was made with this token by protocol `version`; a token out of time is void."""
        age = self._clock() - self._begun
        if age > MAX_USE_SECONDS or (age > INITIAL_USE_SECONDS and not self._used):
            self.stop()
        if self._protocol is None or version != self._protocol.VERSION:
            return False
        if not verify(self._protocol, self._value, message, parameter):
            return False
        self._used = True
        return True

    @property
    def user_verified(self) -> bool:
        """Whether the token still stands for a verified user."""
        return self._protocol is not None and self._user_verified

    @property
    def user_present(self) -> bool:
        """Whether the user was present when the token was made, not long ago."""
        return self._user_present and self._clock() - self._begun <= USER_PRESENT_SECONDS

    def spend(self) -> None:
        """Presence was tested for one operation: only large blobs may still be written with this token."""
        if self._protocol is not None:
            self._user_present = self._user_verified = False
            self.permissions &= Permission.LARGE_BLOB_WRITE
