"""What an operator can do: users, API credentials, enrolment, keys, targets and the audit trail, straight on the store.

Every function works beside a running server; what it takes away is gone for that server's next request.
"""

from dataclasses import dataclass

from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.server import audit, sessions
from fidoloop.server.config import ServerConfig
from fidoloop.server.deregistration import remove_key
from fidoloop.server.errors import ConfigError, ExistsError, NotFoundError
from fidoloop.server.http.credentials import NewApiKey, new_api_key
from fidoloop.server.oauth.passwords import make_verifier
from fidoloop.server.payloads import make_payload
from fidoloop.server.store import oauth_queries, queries
from fidoloop.server.store.base import Store, Transaction
from fidoloop.server.store.rows import Account, ApiKey, AuditEntry, Credential, Target
from fidoloop.server.targets import remove_target

MAX_USERNAME = 128


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A registration token for a user, and the payload that carries it (JSON text, unencrypted)."""

    token: str
    session_id: str
    payload: str
    expires_at: int


async def add_user(store: Store, *usernames: str, now: int) -> None:
    """Add a user, or several, all or none.

    Raises ExistsError, or ConfigError where a name has no or more than 128 characters.
    """
    async with store.transaction() as transaction:
        for username in usernames:
            if not 1 <= len(username) <= MAX_USERNAME or not username.isprintable():
                raise ConfigError(f"a user name has 1 to {MAX_USERNAME} printable characters")
            if await transaction.fetch_one(queries.ADD_ACCOUNT, username=username, now=now) is None:
                raise ExistsError("there is a user of this name")
            await _note(transaction, "user-added", username, now)


async def list_users(store: Store) -> list[Account]:
    """Return all users."""
    return await store.fetch_all(queries.ACCOUNTS)


async def disable_user(store: Store, username: str, *, now: int) -> None:
    """Shut a user out: no request, and no response to one that is open. Raises NotFoundError."""
    async with store.transaction() as transaction:
        found = await transaction.fetch_one(queries.SET_DISABLED, username=username, disabled_at=now)
        if found is None:
            raise NotFoundError("no such user")
        await sessions.fail_open_sessions(transaction, username, now=now)
        await _note(transaction, "user-disabled", username, now)


async def enable_user(store: Store, username: str, *, now: int) -> None:
    """Let a disabled user in again. Raises NotFoundError."""
    async with store.transaction() as transaction:
        if await transaction.fetch_one(queries.SET_DISABLED, username=username, disabled_at=None) is None:
            raise NotFoundError("no such user")
        await _note(transaction, "user-enabled", username, now)


async def add_api_key(store: Store, name: str, *, now: int) -> NewApiKey:
    """Make an API credential; its `bearer` is stored nowhere and can be shown this once."""
    key = new_api_key()
    async with store.transaction() as transaction:
        await transaction.execute(queries.ADD_API_KEY, id=key.id, name=name, secret_hash=key.secret_hash, now=now)
    return key


async def list_api_keys(store: Store) -> list[ApiKey]:
    """Return all API credentials, revoked ones included."""
    return await store.fetch_all(queries.API_KEYS)


async def revoke_api_key(store: Store, key_id: str, *, now: int) -> None:
    """Revoke an API credential, from the next call on. Raises NotFoundError."""
    async with store.transaction() as transaction:
        if await transaction.fetch_one(queries.REVOKE_API_KEY, id=key_id, now=now) is None:
            raise NotFoundError("no such API credential, or revoked already")


async def enrol(config: ServerConfig, store: Store, username: str, *, now: int) -> Enrolment:
    """Make a registration token to hand to a user (HTTP contract 11). Raises NotFoundError: no such active user."""
    lifetime = config.lifetimes.token_millis("Reg")
    context = sessions.registration_context(username)
    new = sessions.NewToken(op="Reg", username=username, context=context, lifetime=lifetime)
    async with store.transaction() as transaction:
        account = await transaction.fetch_one(queries.ACCOUNT, username=username)
        if account is None or account.disabled_at is not None:
            raise NotFoundError("no such user, or disabled")
        session = await sessions.add_token(transaction, new, now=now, requested_from="operator")
    payload = make_payload(
        config, op="Reg", token=session.token, recipient=None, address="operator", user_agent="fidoloop server enrol"
    )
    return Enrolment(session.token, session.id, payload, session.token_expires_at)


async def list_credentials(store: Store, username: str | None = None) -> list[Credential]:
    """Return the registered keys, of one user or of all."""
    if username is None:
        return await store.fetch_all(queries.CREDENTIALS)
    return await store.fetch_all(queries.CREDENTIALS_OF_USER, username=username)


async def revoke_credential(store: Store, key_id: str, *, now: int) -> list[Credential]:
    """Delete the key (base64url KeyID) and end what is open for it; return what was deleted. Raises NotFoundError."""
    async with store.transaction() as transaction:
        found = await transaction.fetch_all(queries.CREDENTIALS_NAMED, key_id=key_id)
        if not found:
            raise NotFoundError("no such key")
        for credential in found:
            await remove_key(transaction, credential, now=now, requested_from="operator")
    return found


async def list_targets(store: Store, username: str | None = None) -> list[Target]:
    """Return the dispatch targets, of one user or of all."""
    if username is None:
        return await store.fetch_all(queries.TARGETS)
    return await store.fetch_all(queries.TARGETS_OF, username=username)


async def revoke_target(store: Store, target_id: str, *, now: int) -> None:
    """Delete a dispatch target and end what was dispatched to it. Raises NotFoundError."""
    async with store.transaction() as transaction:
        target = await transaction.fetch_one(queries.TARGET, id=target_id)
        if target is None or not await remove_target(transaction, target_id, now=now):
            raise NotFoundError("no such dispatch target")
        await _note(transaction, "target-revoked", target.username, now)


async def audit_entries(store: Store, username: str | None = None, *, limit: int = 100) -> list[AuditEntry]:
    """Return the audit trail, newest first."""
    return await audit.entries(store, username, limit=limit)


async def _note(transaction: Transaction, event: str, username: str | None, now: int) -> None:
    await audit.record(
        transaction, now=now, event=event, outcome=StatusCode.OK, username=username, requested_from="operator"
    )


async def set_password(store: Store, username: str, password: str, *, now: int) -> None:
    """Set a user's password, which enrols FIDO credentials and does nothing else.

    Raises:
        NotFoundError: no such user.
        ValueError: fewer than 8 characters or more than 256.
    """
    verifier = make_verifier(password)
    async with store.transaction() as transaction:
        if await transaction.fetch_one(queries.ACCOUNT, username=username) is None:
            raise NotFoundError("no such user")
        await transaction.execute(oauth_queries.SET_PASSWORD, username=username, verifier=verifier, now=now)
        await _note(transaction, "password-set", username, now)


async def revoke_client(store: Store, client_id: str, *, now: int) -> None:
    """Revoke an OAuth client with all that it was granted. Raises NotFoundError."""
    async with store.transaction() as transaction:
        if await transaction.fetch_one(oauth_queries.CLIENT, id=client_id) is None:
            raise NotFoundError("no such client")
        await transaction.execute(oauth_queries.REVOKE_CLIENT, id=client_id, now=now)
        await transaction.execute(oauth_queries.REVOKE_GRANTS_OF_CLIENT, client_id=client_id, now=now)
        await _note(transaction, "client-revoked", None, now)
