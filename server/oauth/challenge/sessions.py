"""auth_sessions: opaque, bound to a client and its key, few tries, one code (OAuth contract 1.2)."""

import secrets
from collections.abc import Mapping
from typing import Final

from fidoloop.protocol.oauth.dpop import INVALID as INVALID_PROOF
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.pkce import check_challenge
from fidoloop.server.environment import Environment
from fidoloop.server.oauth.client_authentication import AuthenticatedClient
from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.oauth_rows import AuthSession

ACRS: Final = ("pw-enroll", "uaf", "uaf-hw", "fido2", "fido2-hw")
MAX_TRIES: Final = 5
INVALID: Final = "invalid_session"
NAMES: Final = ("auth_session", "device_session")


def named_session(parameters: Mapping[str, str]) -> str | None:
    """Return the session that a request names, by either of its names. Raises OAuthRefusal: invalid_request."""
    found = {parameters[name] for name in NAMES if name in parameters}
    if len(found) > 1:
        raise OAuthRefusal("invalid_request", "auth_session and device_session differ")
    return found.pop() if found else None


async def open_session(
    environment: Environment,
    transaction: Transaction,
    parameters: Mapping[str, str],
    client: AuthenticatedClient,
    jkt: str,
    *,
    username: str | None = None,
) -> tuple[str, AuthSession]:
    """Return a fresh session for what the parameters ask for; `username` is whose, where that is known already.

    Raises:
        OAuthRefusal: unsupported acr or scope, a code challenge that is none.
    """
    scope, acr = wanted_scope(parameters, client), wanted_acr(parameters, client)
    challenge = _code_challenge(parameters)
    text, now = secrets.token_urlsafe(32), environment.clock()
    row = AuthSession(
        session_hash=token_hash(text),
        client_id=client.client.id,
        jkt=jkt,
        scope=scope,
        acr=acr,
        username=username,
        code_challenge=challenge,
        nonce=parameters.get("nonce"),
        step=None,
        tries=0,
        expires_at=now + 1000 * environment.config.oauth.auth_session,
        used_at=None,
    )
    await transaction.execute(
        oauth_queries.ADD_SESSION,
        session_hash=row.session_hash,
        client_id=row.client_id,
        jkt=row.jkt,
        scope=row.scope,
        acr=row.acr,
        username=row.username,
        code_challenge=row.code_challenge,
        nonce=row.nonce,
        now=now,
        expires_at=row.expires_at,
    )
    return text, row


async def find_session(
    environment: Environment, transaction: Transaction, text: str, client_id: str, jkt: str
) -> AuthSession:
    """Return a live session of this client, by this key.

    Raises:
        OAuthRefusal: invalid_session: unknown, another client's, used, expired, tried too often; invalid_dpop_proof:
            the proof is by another key.
    """
    row = await transaction.fetch_one(oauth_queries.SESSION, session_hash=token_hash(text))
    if row is None or row.client_id != client_id or row.used_at is not None or row.expires_at <= environment.clock():
        raise OAuthRefusal(INVALID, "the session is unknown, used or expired")
    if row.tries >= MAX_TRIES:
        raise OAuthRefusal(INVALID, "the session was tried too often")
    if row.jkt != jkt:
        raise OAuthRefusal(INVALID_PROOF, "the proof is by another key than the session's")
    return row


async def change_session(
    transaction: Transaction, row: AuthSession, parameters: Mapping[str, str], client: AuthenticatedClient
) -> AuthSession:
    """Return the session with what a request asks for anew: a step-up. What is not named stays."""
    if not {"acr_values", "scope", "code_challenge", "nonce"} & parameters.keys():
        return row
    acr = wanted_acr(parameters, client) if "acr_values" in parameters else row.acr
    scope = wanted_scope(parameters, client) if "scope" in parameters else row.scope
    challenge = _code_challenge(parameters) if "code_challenge" in parameters else row.code_challenge
    nonce = parameters.get("nonce", row.nonce)
    if (acr, scope, challenge, nonce) == (row.acr, row.scope, row.code_challenge, row.nonce):
        return row
    await transaction.execute(
        oauth_queries.CHANGE_SESSION,
        session_hash=row.session_hash,
        acr=acr,
        scope=scope,
        code_challenge=challenge,
        nonce=nonce,
    )
    found = await transaction.fetch_one(oauth_queries.SESSION, session_hash=row.session_hash)
    assert found is not None
    return found


def wanted_acr(parameters: Mapping[str, str], client: AuthenticatedClient) -> str:
    """Return the first acr of the request that this server and the device policy know.

    Raises:
        OAuthRefusal: invalid_request where none is named, unmet_authentication_requirements where none can be met.
    """
    named = parameters.get("acr_values", "").split()
    if not named:
        raise OAuthRefusal("invalid_request", f"acr_values is missing: one of {' '.join(ACRS)}")
    for acr in named:
        if acr in ACRS and acr in client.grants.acr:
            return acr
    raise OAuthRefusal("unmet_authentication_requirements", "no acr of acr_values is there for this device")


def wanted_scope(parameters: Mapping[str, str], client: AuthenticatedClient) -> str:
    """Return the scopes of a request. Raises OAuthRefusal: invalid_scope: the device policy does not grant one."""
    scope = parameters.get("scope", "").split()
    if not set(scope) <= set(client.grants.scopes):
        raise OAuthRefusal("invalid_scope", "the device policy does not allow this scope")
    return " ".join(dict.fromkeys(scope))


def _code_challenge(parameters: Mapping[str, str]) -> str | None:
    challenge = parameters.get("code_challenge")
    if challenge is not None:
        check_challenge(challenge, parameters.get("code_challenge_method"))
    return challenge
