"""Every SQL statement of the server, once. `:name` parameters only; the same text runs on SQLite and PostgreSQL."""

from typing import Final

from fidoloop.server.store.base import Query
from fidoloop.server.store.rows import (
    Account,
    ApiKey,
    AuditEntry,
    Count,
    Credential,
    EndedSession,
    IssuedRequest,
    Key,
    Nothing,
    One,
    OpenSession,
    PendingPayload,
    SessionStatus,
    Target,
    TokenSession,
)

# accounts
ADD_ACCOUNT: Final = Query(
    "INSERT INTO account (username, created_at) VALUES (:username, :now)"
    " ON CONFLICT (username) DO NOTHING RETURNING username",
    One,
)
ACCOUNT: Final = Query("SELECT username, disabled_at, created_at FROM account WHERE username = :username", Account)
ACCOUNTS: Final = Query(
    "SELECT username, disabled_at, created_at FROM account ORDER BY username", Account, patient=True
)
SET_DISABLED: Final = Query(
    "UPDATE account SET disabled_at = :disabled_at WHERE username = :username RETURNING username", One
)

# API credentials
ADD_API_KEY: Final = Query(
    "INSERT INTO api_key (id, name, secret_hash, created_at) VALUES (:id, :name, :secret_hash, :now)", Nothing
)
_API_KEY = "SELECT id, name, secret_hash, created_at, revoked_at FROM api_key"
API_KEY: Final = Query(f"{_API_KEY} WHERE id = :id AND revoked_at IS NULL", ApiKey)
API_KEYS: Final = Query(f"{_API_KEY} ORDER BY created_at, id", ApiKey, patient=True)
REVOKE_API_KEY: Final = Query(
    "UPDATE api_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING id", One
)

# UAF credentials
_CREDENTIAL = (
    "SELECT c.aaid, c.key_id, c.username, c.public_key, c.public_key_format, c.signature_algorithm,"
    " c.authenticator_version, c.sign_counter, c.created_at, c.last_used_at, a.disabled_at, c.attestation_type,"
    " c.key_attested, c.display_characteristics, c.verification_methods"
    " FROM credential c JOIN account a ON a.username = c.username"
)
KEY: Final = Query(
    "SELECT c.username, c.public_key, c.public_key_format, c.signature_algorithm, c.sign_counter, a.disabled_at"
    " FROM credential c JOIN account a ON a.username = c.username"
    " WHERE c.key_id = :key_id AND c.aaid = :aaid AND c.app_id = :app_id",
    Key,
)
CREDENTIALS_OF: Final = Query(
    f"{_CREDENTIAL} WHERE c.username = :username AND c.app_id = :app_id ORDER BY c.created_at, c.key_id", Credential
)
CREDENTIALS_OF_USER: Final = Query(
    f"{_CREDENTIAL} WHERE c.username = :username ORDER BY c.created_at, c.key_id", Credential
)
CREDENTIALS_NAMED: Final = Query(f"{_CREDENTIAL} WHERE c.key_id = :key_id", Credential)
CREDENTIALS: Final = Query(f"{_CREDENTIAL} ORDER BY c.username, c.created_at, c.key_id", Credential, patient=True)
ADD_CREDENTIAL: Final = Query(
    "INSERT INTO credential (aaid, key_id, app_id, username, public_key, public_key_format, signature_algorithm,"
    " authenticator_version, sign_counter, registration_counter, attestation_type, key_attested,"
    " display_characteristics, verification_methods, created_at) VALUES (:aaid, :key_id, :app_id, :username,"
    " :public_key, :public_key_format, :signature_algorithm, :authenticator_version, :sign_counter,"
    " :registration_counter, :attestation_type, :key_attested, :display_characteristics, :verification_methods, :now)"
    " ON CONFLICT (key_id, aaid, app_id) DO NOTHING RETURNING key_id",
    One,
)
ADVANCE_COUNTER: Final = Query(
    "UPDATE credential SET sign_counter = :counter, last_used_at = :now"
    " WHERE key_id = :key_id AND aaid = :aaid AND app_id = :app_id"
    " AND username = :username AND public_key = :public_key"
    " AND (sign_counter < :counter OR (sign_counter = 0 AND CAST(:counter AS BIGINT) = 0))"
    " AND (SELECT a.disabled_at FROM account a WHERE a.username = credential.username) IS NULL",
    Nothing,
)
DELETE_CREDENTIAL: Final = Query(
    "DELETE FROM credential WHERE key_id = :key_id AND aaid = :aaid AND username = :username RETURNING key_id", One
)

# dispatch targets
_TARGET = (
    "SELECT id, username, name, device_id, dispatcher, target, signature_key, encryption_key, created_at, last_used_at,"
    " expired_at FROM dispatch_target"
)
ADD_TARGET: Final = Query(
    "INSERT INTO dispatch_target (id, username, name, device_id, dispatcher, target, signature_key, encryption_key,"
    " created_at, last_used_at) VALUES (:id, :username, :name, :device_id, :dispatcher, :target, :signature_key,"
    " :encryption_key, :now, :now) ON CONFLICT (username, name) DO NOTHING RETURNING id",
    One,
)
TARGET: Final = Query(f"{_TARGET} WHERE id = :id", Target)
TARGETS_OF: Final = Query(f"{_TARGET} WHERE username = :username ORDER BY created_at, name", Target)
TARGETS: Final = Query(f"{_TARGET} ORDER BY username, created_at, name", Target, patient=True)
MODIFY_TARGET: Final = Query(
    "UPDATE dispatch_target SET name = COALESCE(:name, name), target = COALESCE(:target, target),"
    " dispatcher = COALESCE(:dispatcher, dispatcher), last_used_at = :now,"
    " expired_at = CASE WHEN CAST(:target AS TEXT) IS NULL THEN expired_at END WHERE id = :id RETURNING id",
    One,
)
EXPIRE_TARGET: Final = Query(
    "UPDATE dispatch_target SET expired_at = :now WHERE id = :id AND target = :target", Nothing
)
TOUCH_TARGET: Final = Query("UPDATE dispatch_target SET last_used_at = :now WHERE id = :id", Nothing)
DELETE_TARGET: Final = Query("DELETE FROM dispatch_target WHERE id = :id RETURNING username", One)
USE_REQUEST_ID: Final = Query(
    "INSERT INTO used_request (target_id, request_id, expires_at) VALUES (:target_id, :request_id, :expires_at)"
    " ON CONFLICT (target_id, request_id) DO NOTHING RETURNING request_id",
    One,
)

# sessions
ADD_TOKEN: Final = Query(
    "INSERT INTO session (id, op, username, state, created_at, updated_at, requested_from, target_id, token, context,"
    " token_expires_at, dispatcher, channel_linking, linking_tries_left) VALUES (:id, :op, :username, 'tokenCreated',"
    " :now, :now, :requested_from, :target_id, :token, :context, :token_expires_at, :dispatcher, :channel_linking,"
    " :linking_tries_left)",
    Nothing,
)
# Of a user who is active, where it is one's, and for an API credential that is live: it is shown already.
ADD_SHOWN_TOKEN: Final = Query(
    "INSERT INTO session (id, op, username, state, created_at, updated_at, requested_from, token, context,"
    " token_expires_at, dispatcher, dispatcher_response, channel_linking, linking_tries_left) SELECT CAST(:id AS TEXT),"
    " CAST(:op AS TEXT), CAST(:username AS TEXT), 'tokenCreated', CAST(:now AS BIGINT), CAST(:now AS BIGINT),"
    " CAST(:requested_from AS TEXT), CAST(:token AS TEXT), CAST(:context AS TEXT), CAST(:token_expires_at AS BIGINT),"
    " CAST(:dispatcher AS TEXT), CAST(:response AS TEXT), CAST(:channel_linking AS TEXT),"
    " CAST(:linking_tries_left AS BIGINT) WHERE (CAST(:username AS TEXT) IS NULL"
    " OR EXISTS (SELECT 1 FROM account WHERE username = CAST(:username AS TEXT) AND disabled_at IS NULL))"
    " AND (CAST(:api_key AS TEXT) IS NULL"
    " OR EXISTS (SELECT 1 FROM api_key WHERE id = CAST(:api_key AS TEXT) AND revoked_at IS NULL))",
    Nothing,
)
_PENDING = "SELECT id, op, username, token, context, token_expires_at, redeemed_at, state, channel_linking FROM session"
TOKEN: Final = Query(_PENDING + " WHERE token = :token", TokenSession)
TOKEN_OF_SESSION: Final = Query(_PENDING + " WHERE id = :id AND token IS NOT NULL", TokenSession)
REDEEM: Final = Query(
    "UPDATE session SET redeemed_at = :now, updated_at = :now WHERE token = :token AND op = :op"
    " AND redeemed_at IS NULL AND token_expires_at > :now AND state = 'tokenCreated'"
    " RETURNING id, op, username, token, context, token_expires_at, redeemed_at, state, channel_linking",
    TokenSession,
)
# What redeeming and asking do, where what was read before is still so. The user's keys are those of :keys if as many of
# them are in it as there are, and none is that is not.
REDEEM_AND_ASK: Final = Query(
    "UPDATE session SET redeemed_at = :now, updated_at = :now, username = :username, state = 'clientAuthenticating',"
    " server_data = :server_data, challenge = :challenge, policy = :policy, transactions = :transactions,"
    " request_expires_at = :request_expires_at WHERE id = :id AND token = :token AND op = 'Auth'"
    " AND redeemed_at IS NULL AND token_expires_at > :now AND state = 'tokenCreated'"
    " AND (CAST(:keys AS TEXT) IS NULL OR :key_count = (SELECT SUM(CASE WHEN REPLACE(CAST(:keys AS TEXT),"
    " ' ' || c.aaid || ' ' || c.key_id || ' ' || CAST(c.created_at AS TEXT) || ' ', '') = :keys THEN -1 ELSE 1 END)"
    " FROM credential c JOIN account a ON a.username = c.username"
    " WHERE c.username = :username AND c.app_id = :app_id AND a.disabled_at IS NULL))",
    Nothing,
)
SET_SESSION_TARGET: Final = Query("UPDATE session SET target_id = :target_id WHERE id = :id", Nothing)
TARGET_OF_SESSION: Final = Query("SELECT target_id FROM session WHERE id = :id AND target_id IS NOT NULL", One)
SET_DISPATCHER: Final = Query(
    "UPDATE session SET dispatcher = :dispatcher, dispatcher_response = :response,"
    " target_id = COALESCE(target_id, :target_id) WHERE id = :id",
    Nothing,
)
ADD_PAYLOAD: Final = Query(
    "INSERT INTO dispatched_payload (target_id, session_id, payload) VALUES (:target_id, :session_id, :payload)"
    " ON CONFLICT (target_id, session_id) DO UPDATE SET payload = :payload",
    Nothing,
)
PENDING_PAYLOADS: Final = Query(
    "SELECT s.op, s.token_expires_at, p.payload FROM dispatched_payload p JOIN session s ON s.id = p.session_id"
    " WHERE p.target_id = :target_id AND s.redeemed_at IS NULL AND s.token_expires_at > :now"
    " AND s.state = 'tokenCreated' ORDER BY s.id DESC",
    PendingPayload,
)
PURGE_PAYLOADS: Final = Query("DELETE FROM dispatched_payload WHERE session_id < :before", Nothing, patient=True)
ADD_REQUEST: Final = Query(
    "INSERT INTO session (id, op, username, state, created_at, updated_at, requested_from, server_data, challenge,"
    " policy, transactions, request_expires_at) VALUES (:id, :op, :username, :state, :now, :now, :requested_from,"
    " :server_data, :challenge, :policy, :transactions, :request_expires_at)",
    Nothing,
)
ADD_USERNAMELESS_REQUEST: Final = Query(
    "INSERT INTO session (id, op, state, created_at, updated_at, requested_from, server_data, challenge, policy,"
    " request_expires_at) VALUES (:id, 'Auth', 'clientAuthenticating', :now, :now, :requested_from, :server_data,"
    " :challenge, :policy, :request_expires_at)",
    Nothing,
)
OPEN_REQUEST: Final = Query(
    "UPDATE session SET username = :username, state = :state, updated_at = :now, server_data = :server_data,"
    " challenge = :challenge, policy = :policy, transactions = :transactions,"
    " request_expires_at = :request_expires_at WHERE id = :id",
    Nothing,
)
_IS_OPEN = (
    "consumed_at IS NULL AND request_expires_at > :now AND state IN ('clientRegistering', 'clientAuthenticating')"
)
_REQUEST = "SELECT id, username, challenge, policy, transactions, requested_from, channel_linking FROM session"
OPEN: Final = Query(f"{_REQUEST} WHERE server_data = :server_data AND op = :op AND {_IS_OPEN}", IssuedRequest)
_USE_TRY = "UPDATE session SET linking_tries_left = linking_tries_left - 1"
USE_LINKING_TRY: Final = Query(
    f"{_USE_TRY} WHERE id = :id AND linking_tries_left > 0 AND {_IS_OPEN} RETURNING linking_tries_left", Count
)
_END = (
    "UPDATE session SET state = :state, updated_at = :now, username = COALESCE(username, :username),"
    " uaf_status = :uaf_status, asm_status = :asm_status, client_error = :client_error,"
    # What the response was held against is of no more use, and need not be kept.
    " authenticators = :authenticators, challenge = NULL, policy = NULL, transactions = NULL"
)
CONSUME: Final = Query(
    f"{_END}, consumed_at = :now, event = :event, address = :address WHERE id = :id AND {_IS_OPEN}", Nothing
)
_SUCCESS = (
    "UPDATE session SET state = 'succeeded', updated_at = :now, username = :username, uaf_status = 1200,"
    " authenticators = :authenticators, challenge = NULL, policy = NULL, transactions = NULL, consumed_at = :now,"
    " event = :event, address = :address"
)
SUCCEED: Final = Query(
    f"{_SUCCESS} WHERE id = :id AND server_data = :server_data AND op = 'Auth' AND {_IS_OPEN}", Nothing
)
FINISH: Final = Query(f"{_END} WHERE id = :id", Nothing)
STATUS: Final = Query(
    "SELECT id, username, state, updated_at, token_expires_at, redeemed_at, dispatcher, dispatcher_response,"
    " request_expires_at, uaf_status, asm_status, client_error, authenticators FROM session WHERE id = :id",
    SessionStatus,
)
OPEN_SESSIONS_OF: Final = Query(
    "SELECT id, op, target_id, policy FROM session"
    " WHERE username = :username AND state IN ('tokenCreated', 'clientRegistering', 'clientAuthenticating')",
    OpenSession,
)
# Each by the conditions of an index that holds little else.
_COUNT = "SELECT COUNT(*) FROM session"
OPEN_REQUESTS: Final = Query(f"{_COUNT} WHERE server_data IS NOT NULL AND {_IS_OPEN}", Count)
WAITING_TOKENS: Final = Query(
    f"{_COUNT} WHERE token IS NOT NULL AND state = 'tokenCreated' AND token_expires_at > :now", Count
)
FAIL: Final = Query(
    "UPDATE session SET state = 'failed', uaf_status = :uaf_status, updated_at = :now WHERE id = :id"
    " AND state IN ('tokenCreated', 'clientRegistering', 'clientAuthenticating')",
    Nothing,
)
FAIL_OPEN: Final = Query(
    "UPDATE session SET state = 'failed', uaf_status = :uaf_status, updated_at = :now"
    " WHERE state IN ('tokenCreated', 'clientRegistering', 'clientAuthenticating')",
    Nothing,
    patient=True,
)
REMOVE_SESSIONS: Final = Query(
    "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE id < :before ORDER BY id LIMIT :limit)"
    " RETURNING updated_at, event, uaf_status, username, authenticators, id, address, requested_from",
    EndedSession,
)
PURGE_REQUEST_IDS: Final = Query("DELETE FROM used_request WHERE expires_at < :now", Nothing, patient=True)

# audit and settings
ADD_AUDIT: Final = Query(
    "INSERT INTO audit (at, event, outcome, username, aaid, key_id, session_id, address, requested_from, client_id)"
    " VALUES (:now, :event, :outcome, :username, :aaid, :key_id, :session_id, :address, :requested_from, :client_id)",
    Nothing,
)
AUDIT: Final = Query(
    "SELECT at, event, outcome, username, aaid, key_id, session_id, address, requested_from, client_id"
    " FROM audit"
    " WHERE CAST(:username AS TEXT) IS NULL OR username = :username ORDER BY at DESC LIMIT :limit",
    AuditEntry,
    patient=True,
)
AUDIT_OF_SESSIONS: Final = Query(
    "SELECT updated_at, event, uaf_status, username, authenticators, id, address, requested_from FROM session"
    " WHERE event IS NOT NULL AND (CAST(:username AS TEXT) IS NULL OR username = :username)"
    " ORDER BY updated_at DESC LIMIT :limit",
    EndedSession,
    patient=True,
)
# One row is changed where nobody has claimed the job; a claim that is further off than one's own is of a wrong clock.
CLAIM_JOB: Final = Query(
    "INSERT INTO job (name, claimed_until) VALUES (:name, :until) ON CONFLICT (name) DO UPDATE"
    " SET claimed_until = :until WHERE job.claimed_until <= :now OR job.claimed_until > :until",
    Nothing,
)
SET_SETTING: Final = Query(
    "INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value", Nothing
)
ADD_SETTING: Final = Query(
    "INSERT INTO setting (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING", Nothing
)
SETTING: Final = Query("SELECT value FROM setting WHERE name = :name", One)
