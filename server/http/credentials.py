"""API credentials: `Authorization: Bearer ID.SECRET`; the store holds the SHA-256 of the secret (HTTP contract 11).

The store is asked for every call, so that a revoked one is refused at once: by a statement of its own, or by the one
that does what is called for, if the credential is remembered.
"""

import hashlib
import hmac
import secrets
from typing import NamedTuple

from fidoloop.server.remembered import Remembered
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


async def authorized_key_id(
    statements: Statements, header: bytes | None, remembered: Remembered | None = None
) -> str | None:
    """Return the id of the live API credential that an Authorization header holds, None where it holds none.

    `remembered` is told which of both it is.
    """
    held = _read(header)
    if held is None:
        return None
    key = await statements.fetch_one(queries.API_KEY, id=held.id)
    if key is None:
        if remembered is not None:
            remembered.forget_api_key(held.id)
        return None
    if not hmac.compare_digest(key.secret_hash, held.secret_hash):
        return None
    if remembered is not None:
        remembered.api_key_read(key)
    return key.id


def remembered_key_id(remembered: Remembered, header: bytes | None) -> str | None:
    """Return the id of the API credential that an Authorization header holds, if it is remembered as live."""
    held = _read(header)
    key = None if held is None else remembered.api_key(held.id)
    if held is None or key is None or not hmac.compare_digest(key.secret_hash, held.secret_hash):
        return None
    return key.id


class _Held(NamedTuple):
    id: str
    secret_hash: str


def _read(header: bytes | None) -> _Held | None:
    if header is None or header[:7].lower() != _PREFIX:
        return None
    key_id, dot, secret = header[7:].strip().partition(b".")
    if not dot or not key_id.isalnum():
        return None
    return _Held(key_id.decode("ascii", "replace"), _digest(secret))


def _digest(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()
