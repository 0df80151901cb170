"""The credentials that users have: as options name them, and as an operator sees them."""

import msgspec
from msgspec import UNSET

from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.protocol.webauthn.messages import CredentialDescriptor
from fidoloop.server import audit
from fidoloop.server.errors import NotFoundError
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.base import Store
from fidoloop.server.store.fido2_rows import Fido2Credential


def descriptor(credential: Fido2Credential) -> CredentialDescriptor:
    """Return how options name a credential."""
    return CredentialDescriptor("public-key", credential.id, transports(credential) or UNSET)


def transports(credential: Fido2Credential) -> tuple[str, ...]:
    """Return how the authenticator can be reached, as its client said at registration."""
    return msgspec.json.decode(credential.transports, type=tuple[str, ...])


async def list_credentials(store: Store, username: str | None = None) -> list[Fido2Credential]:
    """Return the credentials, of one user or of all."""
    if username is None:
        return await store.fetch_all(fido2_queries.CREDENTIALS)
    return await store.fetch_all(fido2_queries.CREDENTIALS_OF_USER, username=username)


async def remove_credential(store: Store, credential_id: str, *, now: int, requested_from: str = "operator") -> str:
    """Delete a credential by its id (base64url) and return whose it was. Raises NotFoundError."""
    async with store.transaction() as transaction:
        removed = await transaction.fetch_one(fido2_queries.DELETE_CREDENTIAL, id=credential_id)
        if removed is None:
            raise NotFoundError("no such FIDO2 credential")
        await audit.record(
            transaction,
            now=now,
            event="fido2-credential-revoked",
            outcome=StatusCode.OK,
            username=removed.value,
            key_id=credential_id,
            requested_from=requested_from,
        )
    return removed.value
