"""API credentials: `Authorization: Bearer ID.SECRET`; the store holds the SHA-256 of the secret (HTTP contract 11).

Looked up in the store for every call, so that a revoked one is refused at once.
"""

import hashlib
import hmac
import secrets
from typing import NamedTuple

from fidoloop.server.store import queries
from fidoloop.server.store.base import Statements

_PREFIX = b"bearer "


class NewApiKey(NamedTuple):
    """A fresh credential: its id, the text to hand over once, and what is stored."""

    id: str
    bearer: str
    secret_hash: str


def new_api_key() -> NewApiKey:
    """Return a fresh credential with 256 random bits."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return NewApiKey(key_id, f"{key_id}.{secret}", _digest(secret.encode("ascii")))


async def is_authorized(statements: Statements, header: bytes | None) -> bool:
    """Tell whether an Authorization header holds a live API credential."""
    return await authorized_key_id(statements, header) is not None


async def authorized_key_id(statements: Statements, header: bytes | None) -> str | None:
    """Return the id of the live API credential that an Authorization header holds, None where it holds none."""
    if header is None or header[:7].lower() != _PREFIX:
        return None
    key_id, dot, secret = header[7:].strip().partition(b".")
    if not dot or not key_id.isalnum():
        return None
    key = await statements.fetch_one(queries.API_KEY, id=key_id.decode("ascii", "replace"))
    return key.id if key is not None and hmac.compare_digest(key.secret_hash, _digest(secret)) else None


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
