"""What this process wrote or read lately and need not ask the store for again: requests, keys, tokens, credentials.

It may be old, since other processes write too. So nothing is believed: what is concluded from it is written by
statements that say what they rely on, and where these change nothing, or the conclusion is a refusal, the store is
asked.
"""

from typing import TypeVar

from fidoloop.protocol.uaf.verify_authentication_response import StoredKey
from fidoloop.server.store.oauth_rows import RefreshGrant
from fidoloop.server.store.rows import ApiKey, Credential, IssuedRequest, TokenSession

MOST = 8192
"""Entries of each kind, the oldest forgotten first: some 10 MiB each."""
MOST_KEYS_OF_A_USER = 16
"""The keys of users who have more are not remembered."""
K = TypeVar("K")
V = TypeVar("V")


class Remembered:
    """What is for one use: requests by serverData, dispatched tokens, refresh tokens by hash.

    Keys by (AAID, KeyID) and by user, API credentials by id.
    """

    def __init__(self) -> None:
        self._requests: dict[str, IssuedRequest] = {}
        self._keys: dict[tuple[str, str], StoredKey] = {}
        self._dispatched: dict[str, TokenSession] = {}
        self._tokens: dict[str, RefreshGrant] = {}
        self._users: dict[str, list[Credential]] = {}
        self._api_keys: dict[str, ApiKey] = {}

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

    def keys_read(self, username: str, credentials: list[Credential]) -> None:
        """Remember all keys of a user who is active."""
        self._users.pop(username, None)
        if len(credentials) <= MOST_KEYS_OF_A_USER:
            _keep(self._users, username, credentials)

    def keys_of(self, username: str) -> list[Credential] | None:
        """Return all keys of a user, None where they are not remembered."""
        return self._users.get(username)

    def api_key_read(self, key: ApiKey) -> None:
        """Remember an API credential that is live."""
        _keep(self._api_keys, key.id, key)

    def api_key(self, key_id: str) -> ApiKey | None:
        """Return an API credential."""
        return self._api_keys.get(key_id)

    def forget_api_key(self, key_id: str) -> None:
        """Forget an API credential, which is not live any more."""
        self._api_keys.pop(key_id, None)

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
