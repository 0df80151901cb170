"""What this process wrote or read lately and need not ask the store for again: open requests, keys, tokens.

It may be old, since other processes write too. So nothing is believed: what is concluded from it is written by
statements that say what they rely on, and where these change nothing, or the conclusion is a refusal, the store is
asked.
"""

from typing import TypeVar

from fidoloop.protocol.uaf.verify_authentication_response import StoredKey
from fidoloop.server.store.oauth_rows import RefreshGrant
from fidoloop.server.store.rows import IssuedRequest, TokenSession

MOST = 8192
"""Entries of each kind, the oldest forgotten first: some 10 MiB each."""
K = TypeVar("K")
V = TypeVar("V")


class Remembered:
    """What is for one use: requests by serverData, dispatched tokens, refresh tokens by hash. Keys by (AAID, KeyID)."""

    def __init__(self) -> None:
        self._requests: dict[str, IssuedRequest] = {}
        self._keys: dict[tuple[str, str], StoredKey] = {}
        self._dispatched: dict[str, TokenSession] = {}
        self._tokens: dict[str, RefreshGrant] = {}

    def request_issued(self, server_data: str, issued: IssuedRequest) -> None:
        """Remember a request that waits for its response."""
        _keep(self._requests, server_data, issued)

    def take_request(self, server_data: str) -> IssuedRequest | None:
        """Return the request, and forget it."""
        return self._requests.pop(server_data, None)

    def key_used(self, key: StoredKey, sign_counter: int) -> None:
        """Remember a key, its counter moved on."""
        self._keys.pop((key.aaid, key.key_id), None)
        moved = StoredKey(
            owner=key.owner,
            aaid=key.aaid,
            key_id=key.key_id,
            public_key=key.public_key,
            public_key_format=key.public_key_format,
            signature_algorithm=key.signature_algorithm,
            sign_counter=sign_counter,
        )
        _keep(self._keys, (key.aaid, key.key_id), moved)

    def token_made(self, session: TokenSession) -> None:
        """Remember a session whose token waits to be redeemed."""
        _keep(self._dispatched, session.token, session)

    def take_session(self, token: str) -> TokenSession | None:
        """Return the session of a token, and forget it."""
        return self._dispatched.pop(token, None)

    def token_issued(self, token_hash: str, granted: RefreshGrant) -> None:
        """Remember a refresh token that is not used yet."""
        _keep(self._tokens, token_hash, granted)

    def take_token(self, token_hash: str) -> RefreshGrant | None:
        """Return the refresh token's row, and forget it."""
        return self._tokens.pop(token_hash, None)

    def keys(self, wanted: list[tuple[str, str]]) -> dict[tuple[str, str], StoredKey]:
        """Return those of the keys `wanted`, by (AAID, KeyID), that are remembered."""
        known = self._keys
        return {name: known[name] for name in wanted if name in known}


def _keep(entries: dict[K, V], name: K, value: V) -> None:
    if len(entries) >= MOST:
        del entries[next(iter(entries))]
    entries[name] = value
