"""Key handles: what an ASM keeps and hands back to have a key used (UAF authenticator commands 6.2.2).

A raw key handle of the specification wraps the private key itself, the access token and the username. Ours refers to
them: the key stays in the token, the rest in rows of the authenticator's state, which bear MACs. So a handle of a bound
authenticator holds a format byte, the KeyID and an HMAC by a key of the token over both and the AAID; where the token
has no HMAC it ends after the KeyID, which is 32 random bytes that nobody guesses. Handles of a roaming first-factor
authenticator are plain KeyIDs (6.2.3). In no form does a handle open a key without the access token of its row.
"""

import hmac
from typing import Final

from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.uaf_authenticator import KEY_ID_BYTES

_FORMAT: Final = b"\x01"


class KeyHandles:
    """Makes and reads the handles of the authenticators that share one state."""

    def __init__(self, state: AuthenticatorState, *, roaming: bool) -> None:
        """Take the state, whose MAC key is the token's; `roaming` handles are KeyIDs."""
        self._state = state
        self.roaming: Final = roaming

    def wrap(self, aaid: str, key_id: bytes) -> bytes:
        """Return the handle of a key. Raises KeyStoreError."""
        return key_id if self.roaming else _FORMAT + key_id + self._mac(aaid, key_id)

    def unwrap(self, aaid: str, handle: bytes) -> bytes | None:
        """Return the KeyID in a handle; None where it is not one of this authenticator's. Raises KeyStoreError."""
        if self.roaming:
            return handle
        key_id = handle[1 : 1 + KEY_ID_BYTES]
        if handle[:1] != _FORMAT or len(key_id) != KEY_ID_BYTES:
            return None
        return key_id if hmac.compare_digest(handle[1 + KEY_ID_BYTES :], self._mac(aaid, key_id)) else None

    def _mac(self, aaid: str, key_id: bytes) -> bytes:
        return self._state.mac_of(["key_handle", self._state.id, aaid, key_id.hex()]) or b""
