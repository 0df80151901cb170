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
        self._known: tuple[int, str, frozenset[str]] = (-1, "", frozenset())

    def current(self, now: int) -> str:
        """Return the nonce of `now` (epoch seconds): 43 characters of base64url."""
        return self._at(now // STEP_SECONDS)[1]

    def is_good(self, nonce: str, now: int) -> bool:
        """Tell whether `nonce` is one of the last five minutes, or of the next, where clocks differ.

        Nonces are no secrets: everybody is given them.
        """
        return nonce in self._at(now // STEP_SECONDS)[2]

    def _at(self, step: int) -> tuple[int, str, frozenset[str]]:
        """Return what holds in a step: its number, its nonce, all that are good; worked out once a step."""
        if self._known[0] != step:
            good = {self._nonce(key, each) for key in self._keys for each in range(step - STEPS + 1, step + 2)}
            self._known = (step, self._nonce(self._keys[0], step), frozenset(good))
        return self._known

    @staticmethod
    def _nonce(key: bytes, step: int) -> str:
        return base64url.encode(hmac.digest(key, step.to_bytes(8), hashlib.sha256))


class EvidenceNonces:
    """Nonces for device evidence: 32 bytes, half of them random, good for five minutes.

    That each is used once is the caller's business (draft-tschofenig-oauth-attested-dclient-reg section 3).
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 bytes or more, the present one first."""
        self._keys = [hmac.digest(key, b"evidence-nonce", "sha256") for key in keys]

    def make(self, random: bytes, now: int) -> bytes:
        """Return the nonce made of 16 random bytes at `now` (epoch seconds)."""
        return random + self._tag(self._keys[0], random, now // STEP_SECONDS)

    def is_good(self, nonce: bytes, now: int) -> bool:
        """Tell whether `nonce` was made here in the last five minutes."""
        random, tag = nonce[:16], nonce[16:]
        step = now // STEP_SECONDS
        found = False
        for key in self._keys:
            for each in range(step - STEPS + 1, step + 2):
                found |= hmac.compare_digest(tag, self._tag(key, random, each))
        return found

    @staticmethod
    def _tag(key: bytes, random: bytes, step: int) -> bytes:
        return hmac.digest(key, step.to_bytes(8) + random, "sha256")[:16]
