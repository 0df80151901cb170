"""Rows of the authorization server's tables, columns in the order of their queries; times are epoch milliseconds."""

import msgspec


class Client(msgspec.Struct, frozen=True):
    """A client: one device. `jkt` and `jwk` are its instance key; `metadata` and `device` are JSON."""

    id: str
    jkt: str
    jwk: str
    auth_method: str
    metadata: str
    device: str
    registration_token_hash: str
    created_at: int


class CodeGrant(msgspec.Struct, frozen=True):
    """An authorization code, the grant it is for and that one's client."""

    grant_id: str
    redirect_uri: str | None
    code_challenge: str | None
    message_of: str | None
    message_hash: str | None
    expires_at: int
    used_at: int | None
    client_id: str
    username: str
    scope: str
    acr: str
    auth_time: int
    jkt: str
    nonce: str | None
    revoked_at: int | None
    owner_disabled_at: int | None
    client_revoked_at: int | None
    client_jkt: str
    client_jwk: str
    client_auth_method: str
    client_metadata: str
    client_device: str
    client_registration_token_hash: str
    client_created_at: int


class Granted(msgspec.Struct, frozen=True):
    """Whose grant it is, and to which client."""

    username: str
    client_id: str


class LiveGrant(msgspec.Struct, frozen=True):
    """What a user allowed a client and has not ended; `metadata` and `device` are the client's, JSON."""

    id: str
    client_id: str
    username: str
    scope: str
    acr: str
    created_at: int
    last_used_at: int
    until: int
    metadata: str
    device: str


class TokenGrant(msgspec.Struct, frozen=True):
    """A token and the grant it is of; `scope` is the token's own."""

    kind: str
    grant_id: str
    scope: str
    issued_at: int
    expires_at: int
    used_at: int | None
    client_id: str
    username: str
    grant_scope: str
    acr: str
    auth_time: int
    jkt: str
    nonce: str | None
    revoked_at: int | None
    owner_disabled_at: int | None
    client_revoked_at: int | None


class DeviceToken(TokenGrant, frozen=True):
    """A token, the grant it is of and what that one's client is (JSON)."""

    device: str


class RefreshGrant(TokenGrant, frozen=True):
    """A token, the grant it is of and that one's client."""

    client_jkt: str
    client_jwk: str
    client_auth_method: str
    client_metadata: str
    client_device: str
    client_registration_token_hash: str
    client_created_at: int


def client_of(found: CodeGrant | RefreshGrant | None) -> Client | None:
    """Return the client of a code or token, None where there is none any more."""
    if found is None or found.client_revoked_at is not None:
        return None
    return Client(
        found.client_id,
        found.client_jkt,
        found.client_jwk,
        found.client_auth_method,
        found.client_metadata,
        found.client_device,
        found.client_registration_token_hash,
        found.client_created_at,
    )


class AuthSession(msgspec.Struct, frozen=True):
    """An auth_session. `step` is what it waits for: the id of a UAF session, or what FIDO2 ceremony it began."""

    session_hash: str
    client_id: str
    jkt: str
    scope: str
    acr: str
    username: str | None
    code_challenge: str | None
    nonce: str | None
    step: str | None
    tries: int
    expires_at: int
    used_at: int | None


class AuthorizationRequest(msgspec.Struct, frozen=True):
    """An authorization request that waits in a browser, or for one; `message_of` where it was pushed."""

    client_id: str
    redirect_uri: str
    scope: str
    acr: str
    logged_in_since: int
    jkt: str
    code_challenge: str
    state: str | None
    nonce: str | None
    message_of: str | None
    message_hash: str | None
    browser_hash: str | None
    expires_at: int
    used_at: int | None


class Fido2Token(msgspec.Struct, frozen=True):
    """What a fido2_token stands for."""

    username: str
    credential_id: str
