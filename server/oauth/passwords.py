"""Passwords, which do one thing: let a person enrol a FIDO credential (OAuth contract 1.5; RFC 9700 section 2.4)."""

import asyncio
import hashlib
import hmac
import secrets
from typing import Final

from fidoloop.protocol import base64url
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Statements

MAX_CHARACTERS: Final = 256
MIN_CHARACTERS: Final = 8
WRONG: Final = "username_or_password_invalid"
_N, _R, _P = 1 << 14, 8, 1


def make_verifier(password: str) -> str:
    """Return what is stored of a password: scrypt (RFC 7914) with a salt of its own.

    Raises:
        ValueError: fewer than 8 characters or more than 256.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise ValueError(f"a password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    salt = secrets.token_bytes(16)
    return f"scrypt${base64url.encode(salt)}${base64url.encode(_scrypt(password, salt))}"


async def check_password(environment: Environment, username: str, password: str) -> None:
    """Check a password. A name that nobody has takes as long and is answered alike.

    Raises:
        OAuthRefusal: username_or_password_invalid.
        TooManyError: too many were tried for this name, whoever is called so.
    """
    tries = environment.limits.password_tries
    await tries.spend(username)
    known = await _verifier(environment.store, username)
    right = await asyncio.to_thread(_is_right, password[:MAX_CHARACTERS], known or _NOBODYS)
    if not right or known is None or len(password) > MAX_CHARACTERS:
        raise OAuthRefusal(WRONG, "the user name or the password is wrong")
    await tries.forget(username)


async def _verifier(statements: Statements, username: str) -> str | None:
    found = await statements.fetch_one(oauth_queries.PASSWORD, username=username)
    return None if found is None else found.value


def _is_right(password: str, verifier: str) -> bool:
    _, salt, expected = verifier.split("$")
    return hmac.compare_digest(base64url.encode(_scrypt(password, base64url.decode(salt))), expected)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8"), salt=salt, n=_N, r=_R, p=_P, dklen=32)


# Of no password: what costs the time of a check is to work out what one would be.
_NOBODYS = "$".join(("scrypt", *(base64url.encode(secrets.token_bytes(size)) for size in (16, 32))))
