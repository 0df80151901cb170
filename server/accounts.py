"""Users and their keys, as the services look them up."""

from collections.abc import Iterable, Sequence

from fidoloop.protocol.uaf.policy import AuthenticatorFacts
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_authentication_response import StoredKey
from fidoloop.server.environment import Environment
from fidoloop.server.store import queries
from fidoloop.server.store.base import Statements, Transaction
from fidoloop.server.store.rows import Credential


async def is_active(statements: Statements, username: str) -> bool:
    """Tell whether the user exists and is not disabled."""
    account = await statements.fetch_one(queries.ACCOUNT, username=username)
    return account is not None and account.disabled_at is None


async def require_active(statements: Statements, username: str) -> None:
    """Refuse a user that is unknown or disabled. Raises UafRefusal BAD_REQUEST."""
    if not await is_active(statements, username):
        raise UafRefusal(StatusCode.BAD_REQUEST, "context.username is no user")


async def credentials_of(environment: Environment, statements: Statements, username: str) -> list[Credential]:
    """Return the user's keys under this server's AppID."""
    return await statements.fetch_all(queries.CREDENTIALS_OF, username=username, app_id=environment.config.app_id)


def facts_of(environment: Environment, credentials: Sequence[Credential]) -> list[AuthenticatorFacts]:
    """Return what policies see of `credentials`; those of models without metadata cannot be used and are left out."""
    facts = []
    for credential in credentials:
        entry = environment.metadata.get(credential.aaid)
        if entry is not None:
            facts.append(entry.facts(key_id=credential.key_id, version=credential.authenticator_version))
    return facts


async def load_keys(
    environment: Environment, transaction: Transaction, wanted: Iterable[tuple[str, str]]
) -> tuple[dict[tuple[str, str], StoredKey], frozenset[str]]:
    """Return the stored keys for (AAID, KeyID) pairs, and which of their owners are disabled."""
    keys: dict[tuple[str, str], StoredKey] = {}
    disabled = set()
    for aaid, key_id in wanted:
        found = await transaction.fetch_one(queries.KEY, key_id=key_id, aaid=aaid, app_id=environment.config.app_id)
        if found is None:
            continue
        if found.owner_disabled_at is not None:
            disabled.add(found.username)
        keys[aaid, key_id] = StoredKey(
            owner=found.username,
            aaid=aaid,
            key_id=key_id,
            public_key=found.public_key,
            public_key_format=found.public_key_format,
            signature_algorithm=found.signature_algorithm,
            sign_counter=found.sign_counter,
        )
    return keys, frozenset(disabled)
