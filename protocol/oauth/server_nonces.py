"""Nonces and challenges that need no store: a keyed hash of the time step (RFC 9449 section 8; OAuth contract 4.1)."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, Literal

from fidoloop.protocol import base64url

STEP_SECONDS: Final = 60
STEPS: Final = 5
MIN_KEY_BYTES: Final = 32

Role = Literal["dpop-nonce:as", "dpop-nonce:rs", "attestation-challenge"]


class ServerNonces:
    """The nonces of one role: those of one role are none of another's, and each is good for four to five minutes."""

    def __init__(self, keys: Sequence[bytes], role: Role) -> None:
        """Take the keys, the present one first, the ones before behind it while their nonces are still good.

        Raises:
            ValueError: no key, or one of less than 32 bytes.
        """
        if not keys or any(len(key) < MIN_KEY_BYTES for key in keys):
            raise ValueError(f"nonces need keys of {MIN_KEY_BYTES} bytes or more")
        self._keys = [hmac.digest(key, role.encode("ascii"), "sha256") for key in keys]

    def current(self, now: int) -> str:
        """Return the nonce of `now` (epoch seconds): 43 characters of base64url."""
        return self._nonce(self._keys[0], now // STEP_SECONDS)

    def is_good(self, nonce: str, now: int) -> bool:
        """Tell whether `nonce` is one of the last five minutes, or of the next, where clocks differ."""
        if len(nonce) != _LENGTH or not nonce.isascii():
            return False
        step = now // STEP_SECONDS
        found = False
        for key in self._keys:
            for each in range(step - STEPS + 1, step + 2):
                found |= hmac.compare_digest(nonce, self._nonce(key, each))
        return found

    @staticmethod
    def _nonce(key: bytes, step: int) -> str:
        return base64url.encode(hmac.digest(key, step.to_bytes(8), hashlib.sha256))


_LENGTH = 43
