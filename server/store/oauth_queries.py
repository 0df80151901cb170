"""Every SQL statement of the authorization server, once."""

from typing import Final

from fidoloop.server.store.base import Query
from fidoloop.server.store.oauth_rows import Client, CodeGrant, TokenGrant
from fidoloop.server.store.rows import Nothing, One

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
CLIENTS: Final = Query(f"{_CLIENT} ORDER BY created_at, id", Client)
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
EXTEND_GRANT: Final = Query("UPDATE oauth_grant SET expires_at = :expires_at WHERE id = :id", Nothing)
REVOKE_GRANT: Final = Query("UPDATE oauth_grant SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL", Nothing)
REVOKE_GRANTS_OF_CLIENT: Final = Query(
    "UPDATE oauth_grant SET revoked_at = :now WHERE client_id = :client_id AND revoked_at IS NULL", Nothing
)
ADD_CODE: Final = Query(
    "INSERT INTO oauth_code (code_hash, grant_id, redirect_uri, code_challenge, message_of, message_hash, expires_at)"
    " VALUES (:code_hash, :grant_id, :redirect_uri, :code_challenge, :message_of, :message_hash, :expires_at)",
    Nothing,
)
CODE: Final = Query(
    "SELECT c.grant_id, c.redirect_uri, c.code_challenge, c.message_of, c.message_hash, c.expires_at, c.used_at,"
    " g.client_id, g.username, g.scope, g.acr, g.auth_time, g.jkt, g.nonce, g.revoked_at, a.disabled_at"
    " FROM oauth_code c JOIN oauth_grant g ON g.id = c.grant_id JOIN account a ON a.username = g.username"
    " WHERE c.code_hash = :code_hash",
    CodeGrant,
)
USE_CODE: Final = Query(
    "UPDATE oauth_code SET used_at = :now WHERE code_hash = :code_hash AND used_at IS NULL AND expires_at > :now"
    " RETURNING grant_id",
    One,
)

# tokens
ADD_TOKEN: Final = Query(
    "INSERT INTO oauth_token (token_hash, kind, grant_id, scope, issued_at, expires_at)"
    " VALUES (:token_hash, :kind, :grant_id, :scope, :now, :expires_at)",
    Nothing,
)
TOKEN: Final = Query(
    "SELECT t.kind, t.grant_id, t.scope, t.issued_at, t.expires_at, t.used_at, g.client_id, g.username, g.scope,"
    " g.acr, g.auth_time, g.jkt, g.nonce, g.revoked_at, a.disabled_at, c.revoked_at"
    " FROM oauth_token t JOIN oauth_grant g ON g.id = t.grant_id JOIN account a ON a.username = g.username"
    " JOIN oauth_client c ON c.id = g.client_id WHERE t.token_hash = :token_hash",
    TokenGrant,
)
USE_REFRESH_TOKEN: Final = Query(
    "UPDATE oauth_token SET used_at = :now WHERE token_hash = :token_hash AND kind = 'refresh' AND used_at IS NULL"
    " AND expires_at > :now RETURNING grant_id",
    One,
)
REMOVE_TOKEN: Final = Query("DELETE FROM oauth_token WHERE token_hash = :token_hash", Nothing)

# proofs
USE_PROOF: Final = Query(
    "INSERT INTO oauth_replay (replay_key, expires_at) VALUES (:replay_key, :expires_at)"
    " ON CONFLICT (replay_key) DO NOTHING RETURNING replay_key",
    One,
)

# expiry, in the order that leaves nothing pointing nowhere
PURGE: Final = (
    Query("DELETE FROM oauth_replay WHERE expires_at <= :now", Nothing),
    Query("DELETE FROM oauth_token WHERE expires_at <= :now", Nothing),
    Query("DELETE FROM oauth_code WHERE expires_at <= :now", Nothing),
    Query("DELETE FROM oauth_grant WHERE expires_at <= :now", Nothing),
)
