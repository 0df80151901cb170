"""What is derived from a secret of the store: user handles, and the credentials that unknown users seem to have.

Derived, so that an answer is the same each time, and whether a user exists is told by none (WebAuthn 14.6.2).
"""

import hmac
import secrets

from fidoloop.protocol import base64url
from fidoloop.protocol.webauthn.messages import CredentialDescriptor
from fidoloop.server.store import queries
from fidoloop.server.store.base import Transaction

SETTING = "fido2_secret"
_SECRET_BYTES = 32
# What security keys, platforms and phones make: the length of an id, and the transports that come with it.
_KINDS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (48, ("nfc", "usb")),
    (64, ("usb",)),
    (32, ("internal",)),
    (20, ("hybrid", "internal")),
)


async def load_secret(transaction: Transaction) -> bytes:
    """Return the secret, made at the first use."""
    found = await transaction.fetch_one(queries.SETTING, name=SETTING)
    if found is None:
        made = secrets.token_hex(_SECRET_BYTES)
        await transaction.execute(queries.ADD_SETTING, name=SETTING, value=made)
        found = await transaction.fetch_one(queries.SETTING, name=SETTING)
        assert found is not None
    return bytes.fromhex(found.value)


def user_handle(secret: bytes, username: str) -> str:
    """Return a user's handle: 32 bytes that say nothing of him, in base64url (WebAuthn 5.4.3)."""
    return base64url.encode(_derived(secret, "user handle", username))


def decoy_credentials(secret: bytes, username: str) -> tuple[CredentialDescriptor, ...]:
    """Return the descriptors that a user without credentials seems to have: one or two, always the same."""
    stream = _derived(secret, "decoy", username)
    count = 1 if stream[0] < 192 else 2
    return tuple(_decoy(secret, username, index, stream[index + 1]) for index in range(count))


def _decoy(secret: bytes, username: str, index: int, choice: int) -> CredentialDescriptor:
    length, transports = _KINDS[choice % len(_KINDS)]
    first = _derived(secret, f"decoy {index} 0", username)
    identifier = (first + _derived(secret, f"decoy {index} 1", username))[:length]
    return CredentialDescriptor("public-key", base64url.encode(identifier), transports)


def _derived(secret: bytes, purpose: str, username: str) -> bytes:
    return hmac.digest(secret, f"{purpose}\0{username}".encode(), "sha256")
