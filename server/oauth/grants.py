"""Codes and tokens: made, redeemed once, rotated, revoked with the grant they are of."""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.oauth.access_tokens import AccessTokenClaims, KeyConfirmation, make_access_token
from fidoloop.protocol.oauth.message_hash import MessageKind
from fidoloop.server.environment import Environment
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Change, Store, Transaction, Value

ACCESS: Final = "access"
REFRESH: Final = "refresh"
AMR: Final[dict[str, Sequence[str]]] = {"pw-enroll": ("pwd",), "fido2-hw": ("hwk",)}
"""Authentication methods (RFC 8176) by acr; others are by a key whose keeper is not vouched for: pop."""


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """What a person approved: for which client and key, by which authentication; `auth_time` in epoch seconds."""

    client_id: str
    username: str
    scope: str
    acr: str
    auth_time: int
    jkt: str
    nonce: str | None = None


class TokenResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of the token endpoint (RFC 6749 section 5.1; RFC 9449 section 5)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | UnsetType = UNSET
    id_token: str | UnsetType = UNSET


def token_hash(token: str) -> str:
    """Return what the store knows of a code or token."""
    return base64url.encode(hashlib.sha256(token.encode("utf-8")).digest())


async def add_code(
    environment: Environment,
    transaction: Transaction,
    approved: Approved,
    *,
    redirect_uri: str | None = None,
    code_challenge: str | None = None,
    message: tuple[MessageKind, str] | None = None,
) -> str:
    """Return a fresh authorization code for what was approved.

    `message` is kind and hash of the request that it answers, which the token request's proof may name.
    """
    now = environment.clock()
    grant_id = secrets.token_urlsafe(16)
    code = secrets.token_urlsafe(32)
    expires_at = now + 1000 * environment.config.oauth.authorization_code
    await transaction.execute(
        oauth_queries.ADD_GRANT,
        id=grant_id,
        client_id=approved.client_id,
        username=approved.username,
        scope=approved.scope,
        acr=approved.acr,
        auth_time=approved.auth_time,
        jkt=approved.jkt,
        nonce=approved.nonce,
        now=now,
        expires_at=expires_at,
    )
    await transaction.execute(
        oauth_queries.ADD_CODE,
        code_hash=token_hash(code),
        grant_id=grant_id,
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
        message_of=message[0] if message else None,
        message_hash=message[1] if message else None,
        # Kept longer than it is good, so that one used twice is known as such.
        expires_at=expires_at,
    )
    return code


def make_tokens(
    environment: Environment, grant_id: str, approved: Approved, *, scope: str
) -> tuple[TokenResponse, Change]:
    """Return an access token of `scope`, a refresh token of the whole grant, an id_token where openid was approved.

    With them the change that makes the store know them: they are worth nothing before.
    """
    now = environment.clock()
    settings = environment.config.oauth
    access = _access_token(environment, approved, scope=scope, now=now)
    refresh = secrets.token_urlsafe(32)
    parameters: dict[str, Value] = {
        "grant_id": grant_id,
        "now": now,
        "access_hash": token_hash(access),
        "access_scope": scope,
        "access_expires_at": now + 1000 * settings.access_token,
        "refresh_hash": token_hash(refresh),
        "refresh_scope": approved.scope,
        "refresh_expires_at": now + 1000 * settings.refresh_token,
    }
    id_token = _id_token(environment, approved, now=now) if "openid" in scope.split() else UNSET
    response = TokenResponse(access, "DPoP", settings.access_token, scope, refresh, id_token)
    return response, Change(oauth_queries.ADD_TOKENS, parameters, rows=2)


async def purge(store: Store, *, now: int) -> None:
    """Remove what is expired."""
    for query in oauth_queries.PURGE:
        await store.execute(query, now=now)


def _access_token(environment: Environment, approved: Approved, *, scope: str, now: int) -> str:
    server = environment.authorization_server
    if server.settings.access_token_format == "opaque":  # noqa: S105 - a format
        return secrets.token_urlsafe(32)
    key = server.signing.signing_key(now)
    claims = AccessTokenClaims(
        iss=server.issuer,
        sub=approved.username,
        aud=server.resource,
        client_id=approved.client_id,
        exp=now // 1000 + server.settings.access_token,
        iat=now // 1000,
        jti=secrets.token_urlsafe(16),
        scope=scope,
        cnf=KeyConfirmation(approved.jkt),
        acr=approved.acr,
        auth_time=approved.auth_time,
    )
    return make_access_token(key.key, key.kid, claims)


def _id_token(environment: Environment, approved: Approved, *, now: int) -> str:
    server = environment.authorization_server
    key = server.signing.signing_key(now)
    claims: dict[str, Any] = {
        "iss": server.issuer,
        "sub": approved.username,
        "aud": approved.client_id,
        "exp": now // 1000 + server.settings.id_token,
        "iat": now // 1000,
        "auth_time": approved.auth_time,
        "acr": approved.acr,
        "amr": AMR.get(approved.acr, ("pop",)),
    }
    if approved.nonce is not None:
        claims["nonce"] = approved.nonce
    return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key.key, {"typ": "JWT", "kid": key.kid})
