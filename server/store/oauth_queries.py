"""Every SQL statement of the authorization server, once."""

from typing import Final

from fidoloop.server.store.base import Query
from fidoloop.server.store.oauth_rows import (
    AuthorizationRequest,
    AuthSession,
    Client,
    CodeGrant,
    DeviceToken,
    Fido2Token,
    Granted,
    LiveGrant,
    RefreshGrant,
    TokenGrant,
)
from fidoloop.server.store.rows import Nothing, One

# A code or refresh token is used once, and only while all that it was read with is still so.
_AS_READ = (
    "used_at IS NULL AND expires_at > :now AND grant_id = :grant_id"
    " AND EXISTS (SELECT 1 FROM oauth_grant WHERE id = :grant_id AND revoked_at IS NULL)"
    " AND EXISTS (SELECT 1 FROM account WHERE username = :username AND disabled_at IS NULL)"
    " AND EXISTS (SELECT 1 FROM oauth_client WHERE id = :client_id AND revoked_at IS NULL AND jwk = :client_jwk"
    " AND auth_method = :client_auth_method AND device = :client_device)"
)

# clients
ADD_CLIENT: Final = Query(
    "INSERT INTO oauth_client (id, jkt, jwk, auth_method, metadata, device, registration_token_hash, created_at)"
    " VALUES (:id, :jkt, :jwk, :auth_method, :metadata, :device, :registration_token_hash, :now)",
    Nothing,
)
_CLIENT = (
    "SELECT id, jkt, jwk, auth_method, metadata, device, registration_token_hash, created_at FROM oauth_client"
    " WHERE revoked_at IS NULL"
)
CLIENT: Final = Query(f"{_CLIENT} AND id = :id", Client)
CLIENTS: Final = Query(f"{_CLIENT} ORDER BY created_at, id", Client, patient=True)
CHANGE_CLIENT: Final = Query(
    "UPDATE oauth_client SET jkt = :jkt, jwk = :jwk, auth_method = :auth_method, metadata = :metadata, device = :device"
    " WHERE id = :id AND revoked_at IS NULL",
    Nothing,
)
REVOKE_CLIENT: Final = Query("UPDATE oauth_client SET revoked_at = :now WHERE id = :id", Nothing)

# grants and codes
ADD_GRANT: Final = Query(
    "INSERT INTO oauth_grant (id, client_id, username, scope, acr, auth_time, jkt, nonce, created_at, expires_at)"
    " VALUES (:id, :client_id, :username, :scope, :acr, :auth_time, :jkt, :nonce, :now, :expires_at)",
    Nothing,
)
REVOKE_GRANT: Final = Query(
    "UPDATE oauth_grant SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING username, client_id",
    Granted,
)
REVOKE_GRANTS_TO: Final = Query(
    "UPDATE oauth_grant SET revoked_at = :now WHERE username = :username AND client_id = :client_id"
    " AND revoked_at IS NULL",
    Nothing,
)
_LIVE_GRANT = (
    "SELECT g.id, g.client_id, g.username, g.scope, g.acr, g.created_at, MAX(t.issued_at), MAX(t.expires_at),"
    " c.metadata, c.device FROM oauth_grant g JOIN oauth_client c ON c.id = g.client_id"
    " JOIN oauth_token t ON t.grant_id = g.id WHERE g.revoked_at IS NULL AND c.revoked_at IS NULL"
    " AND t.used_at IS NULL AND t.expires_at > :now"
)
_BY_AGE = "GROUP BY g.id, c.id ORDER BY g.created_at, g.id"
GRANTS: Final = Query(f"{_LIVE_GRANT} {_BY_AGE}", LiveGrant)
GRANTS_OF: Final = Query(f"{_LIVE_GRANT} AND g.username = :username {_BY_AGE}", LiveGrant)
REVOKE_GRANTS_OF_CLIENT: Final = Query(
    "UPDATE oauth_grant SET revoked_at = :now WHERE client_id = :client_id AND revoked_at IS NULL", Nothing
)
ADD_CODE: Final = Query(
    "INSERT INTO oauth_code (code_hash, grant_id, redirect_uri, code_challenge, message_of, message_hash, expires_at)"
    " VALUES (:code_hash, :grant_id, :redirect_uri, :code_challenge, :message_of, :message_hash, :expires_at)",
    Nothing,
)
CODE: Final = Query(
    "SELECT o.grant_id, o.redirect_uri, o.code_challenge, o.message_of, o.message_hash, o.expires_at, o.used_at,"
    " g.client_id, g.username, g.scope, g.acr, g.auth_time, g.jkt, g.nonce, g.revoked_at, a.disabled_at, c.revoked_at,"
    " c.jkt, c.jwk, c.auth_method, c.metadata, c.device, c.registration_token_hash, c.created_at"
    " FROM oauth_code o JOIN oauth_grant g ON g.id = o.grant_id JOIN account a ON a.username = g.username"
    " JOIN oauth_client c ON c.id = g.client_id WHERE o.code_hash = :code_hash",
    CodeGrant,
)
_USE_CODE = "UPDATE oauth_code SET used_at = :now WHERE code_hash = :code_hash AND"
USE_CODE: Final = Query(f"{_USE_CODE} {_AS_READ}", Nothing)

# authorization requests
ADD_REQUEST: Final = Query(
    "INSERT INTO oauth_request (request_hash, client_id, redirect_uri, scope, acr, logged_in_since, jkt,"
    " code_challenge, state, nonce, message_of, message_hash, browser_hash, expires_at) VALUES (:request_hash,"
    " :client_id, :redirect_uri, :scope, :acr, :logged_in_since, :jkt, :code_challenge, :state, :nonce, :message_of,"
    " :message_hash, :browser_hash, :expires_at)",
    Nothing,
)
REQUEST: Final = Query(
    "SELECT client_id, redirect_uri, scope, acr, logged_in_since, jkt, code_challenge, state, nonce, message_of,"
    " message_hash, browser_hash, expires_at, used_at FROM oauth_request WHERE request_hash = :request_hash",
    AuthorizationRequest,
)
REQUEST_OF_BROWSER: Final = Query(
    "SELECT request_hash FROM oauth_request WHERE browser_hash = :browser_hash AND expires_at > :now LIMIT 1", One
)
# A browser that has it keeps it, and its time does not begin anew.
CLAIM_REQUEST: Final = Query(
    "UPDATE oauth_request SET expires_at = CASE WHEN browser_hash IS NULL THEN :until ELSE expires_at END,"
    " browser_hash = :browser_hash WHERE request_hash = :request_hash AND used_at IS NULL AND expires_at > :now"
    " AND (browser_hash IS NULL OR browser_hash = :browser_hash) RETURNING request_hash",
    One,
)
USE_REQUEST: Final = Query(
    "UPDATE oauth_request SET used_at = :now WHERE request_hash = :request_hash AND browser_hash = :browser_hash"
    " AND used_at IS NULL AND expires_at > :now RETURNING request_hash",
    One,
)

# tokens
ADD_TOKENS: Final = Query(
    "INSERT INTO oauth_token (token_hash, kind, grant_id, scope, issued_at, expires_at) VALUES"
    " (:access_hash, 'access', :grant_id, :access_scope, :now, :access_expires_at),"
    " (:refresh_hash, 'refresh', :grant_id, :refresh_scope, :now, :refresh_expires_at)",
    Nothing,
)
_GRANTED = (
    "SELECT t.kind, t.grant_id, t.scope, t.issued_at, t.expires_at, t.used_at, g.client_id, g.username, g.scope,"
    " g.acr, g.auth_time, g.jkt, g.nonce, g.revoked_at, a.disabled_at, c.revoked_at"
)
_BY_HASH = (
    "FROM oauth_token t JOIN oauth_grant g ON g.id = t.grant_id JOIN account a ON a.username = g.username"
    " JOIN oauth_client c ON c.id = g.client_id WHERE t.token_hash = :token_hash"
)
TOKEN: Final = Query(f"{_GRANTED} {_BY_HASH}", TokenGrant)
TOKEN_OF_DEVICE: Final = Query(f"{_GRANTED}, c.device {_BY_HASH}", DeviceToken)
REFRESH_TOKEN: Final = Query(
    f"{_GRANTED}, c.jkt, c.jwk, c.auth_method, c.metadata, c.device, c.registration_token_hash, c.created_at {_BY_HASH}"
    " AND t.kind = 'refresh'",
    RefreshGrant,
)
_USE_REFRESH_TOKEN = "UPDATE oauth_token SET used_at = :now WHERE token_hash = :token_hash AND kind = 'refresh' AND"  # noqa: S105 - SQL
USE_REFRESH_TOKEN: Final = Query(f"{_USE_REFRESH_TOKEN} {_AS_READ}", Nothing)
REMOVE_TOKEN: Final = Query("DELETE FROM oauth_token WHERE token_hash = :token_hash", Nothing)

# auth_sessions
ADD_SESSION: Final = Query(
    "INSERT INTO oauth_session (session_hash, client_id, jkt, scope, acr, username, code_challenge, nonce, tries,"
    " created_at, expires_at) VALUES (:session_hash, :client_id, :jkt, :scope, :acr, :username, :code_challenge,"
    " :nonce, 0, :now, :expires_at)",
    Nothing,
)
REMOVE_SESSION: Final = Query("DELETE FROM oauth_session WHERE session_hash = :session_hash", Nothing)
SESSION: Final = Query(
    "SELECT session_hash, client_id, jkt, scope, acr, username, code_challenge, nonce, step, tries, expires_at, used_at"
    " FROM oauth_session WHERE session_hash = :session_hash",
    AuthSession,
)
SET_STEP: Final = Query(
    "UPDATE oauth_session SET step = :step, username = :username WHERE session_hash = :session_hash"
    " AND used_at IS NULL",
    Nothing,
)
CHANGE_SESSION: Final = Query(
    "UPDATE oauth_session SET acr = :acr, scope = :scope, code_challenge = :code_challenge, nonce = :nonce,"
    " step = NULL WHERE session_hash = :session_hash AND used_at IS NULL",
    Nothing,
)
COUNT_TRY: Final = Query("UPDATE oauth_session SET tries = tries + 1 WHERE session_hash = :session_hash", Nothing)
USE_SESSION: Final = Query(
    "UPDATE oauth_session SET used_at = :now WHERE session_hash = :session_hash AND used_at IS NULL"
    " AND expires_at > :now RETURNING session_hash",
    One,
)
ADD_FIDO2_TOKEN: Final = Query(
    "INSERT INTO oauth_fido2_token (token_hash, session_hash, jkt, username, credential_id, expires_at)"
    " VALUES (:token_hash, :session_hash, :jkt, :username, :credential_id, :expires_at)",
    Nothing,
)
USE_FIDO2_TOKEN: Final = Query(
    "UPDATE oauth_fido2_token SET used_at = :now WHERE token_hash = :token_hash AND session_hash = :session_hash"
    " AND jkt = :jkt AND used_at IS NULL AND expires_at > :now RETURNING username, credential_id",
    Fido2Token,
)

# passwords
SET_PASSWORD: Final = Query(
    "INSERT INTO account_password (username, verifier, changed_at) VALUES (:username, :verifier, :now)"
    " ON CONFLICT (username) DO UPDATE SET verifier = :verifier, changed_at = :now",
    Nothing,
)
PASSWORD: Final = Query(
    "SELECT p.verifier FROM account_password p JOIN account a ON a.username = p.username"
    " WHERE p.username = :username AND a.disabled_at IS NULL",
    One,
)

# proofs
_PROOF = (
    "INSERT INTO oauth_replay (replay_key, expires_at) VALUES (:replay_key, :expires_at)"
    " ON CONFLICT (replay_key) DO NOTHING"
)
_PROOFS = (
    "INSERT INTO oauth_replay (replay_key, expires_at) VALUES (:replay_key, :expires_at), (:second_key, :second_until)"
    " ON CONFLICT (replay_key) DO NOTHING"
)
USE_PROOF: Final = Query(f"{_PROOF} RETURNING replay_key", One)
USE_PROOFS: Final = Query(f"{_PROOFS} RETURNING replay_key", One)
ADD_PROOF: Final = Query(_PROOF, Nothing)
ADD_PROOFS: Final = Query(_PROOFS, Nothing)
USED_PROOF: Final = Query("SELECT replay_key FROM oauth_replay WHERE replay_key = :replay_key", One)

# What was used stays, so that using it again still ends its grant.
FORGET_UNUSED: Final = tuple(
    Query(f"DELETE FROM {table} WHERE used_at IS NULL", Nothing, patient=True)  # noqa: S608 - names of tables
    for table in ("oauth_request", "oauth_session", "oauth_fido2_token", "oauth_code", "oauth_token")
)

# expiry, in the order that leaves nothing pointing nowhere
PURGE: Final = (
    Query("DELETE FROM oauth_replay WHERE expires_at <= :now", Nothing, patient=True),
    Query("DELETE FROM oauth_request WHERE expires_at <= :now", Nothing, patient=True),
    Query("DELETE FROM oauth_session WHERE expires_at <= :now", Nothing, patient=True),
    Query("DELETE FROM oauth_fido2_token WHERE expires_at <= :now", Nothing, patient=True),
    Query("DELETE FROM oauth_token WHERE expires_at <= :now", Nothing, patient=True),
    Query("DELETE FROM oauth_code WHERE expires_at <= :now", Nothing, patient=True),
    # A grant lives as long as what came of it.
    Query(
        "DELETE FROM oauth_grant WHERE expires_at <= :now"
        " AND NOT EXISTS (SELECT 1 FROM oauth_token t WHERE t.grant_id = oauth_grant.id)",
        Nothing,
        patient=True,
    ),
)
