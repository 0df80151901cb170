"""The SQL statements of FIDO2, once; see `queries`."""

from typing import Final

from fidoloop.server.store.base import Query
from fidoloop.server.store.fido2_rows import Fido2Credential, Fido2Session
from fidoloop.server.store.rows import Nothing, One

_CREDENTIAL = (
    "SELECT c.id, c.username, c.public_key, c.sign_count, c.backup_eligible, c.backup_state, c.transports,"
    " c.discoverable, c.aaguid, c.format, c.attestation_type, c.trusted, c.model, c.created_at, c.last_used_at,"
    " a.disabled_at FROM fido2_credential c JOIN account a ON a.username = c.username"
)
CREDENTIAL: Final = Query(f"{_CREDENTIAL} WHERE c.id = :id AND c.rp_id = :rp_id", Fido2Credential)
CREDENTIALS_OF: Final = Query(
    f"{_CREDENTIAL} WHERE c.username = :username AND c.rp_id = :rp_id ORDER BY c.created_at, c.id", Fido2Credential
)
CREDENTIALS_OF_USER: Final = Query(
    f"{_CREDENTIAL} WHERE c.username = :username ORDER BY c.created_at, c.id", Fido2Credential
)
CREDENTIALS: Final = Query(f"{_CREDENTIAL} ORDER BY c.username, c.created_at, c.id", Fido2Credential, patient=True)
ADD_CREDENTIAL: Final = Query(
    "INSERT INTO fido2_credential (id, rp_id, username, public_key, sign_count, uv_initialized, backup_eligible,"
    " backup_state, transports, discoverable, aaguid, format, attestation_type, trusted, model, created_at) VALUES"
    " (:id, :rp_id, :username, :public_key, :sign_count, :uv_initialized, :backup_eligible, :backup_state,"
    " :transports, :discoverable, :aaguid, :format, :attestation_type, :trusted, :model, :now)"
    " ON CONFLICT (id) DO NOTHING RETURNING id",
    One,
)
_USE = (
    "UPDATE fido2_credential SET sign_count = {count}, backup_state = :backup_state, last_used_at = :now"
    " WHERE id = :id AND rp_id = :rp_id AND username = :username AND public_key = :public_key"
    " AND (SELECT a.disabled_at FROM account a WHERE a.username = fido2_credential.username) IS NULL"
)
USE_CREDENTIAL: Final = Query(
    _USE.format(count=":count")
    + " AND (sign_count < :count OR (sign_count = 0 AND CAST(:count AS BIGINT) = 0)) RETURNING id",
    One,
)
# Where a clone is only reported: a counter that went back does not take the stored one with it.
USE_SUSPECTED: Final = Query(
    _USE.format(count="CASE WHEN sign_count < :count THEN :count ELSE sign_count END") + " RETURNING id", One
)
DELETE_CREDENTIAL: Final = Query("DELETE FROM fido2_credential WHERE id = :id RETURNING username", One)

ADD_SESSION: Final = Query(
    "INSERT INTO fido2_session (id, kind, username, challenge, authority, options, state, created_at, updated_at,"
    " expires_at, requested_from) VALUES (:id, :kind, :username, :challenge, :authority, :options, 'initialized',"
    " :now, :now, :expires_at, :requested_from)",
    Nothing,
)
_SESSION = (
    "SELECT id, kind, username, challenge, authority, options, state, updated_at, expires_at, consumed_at,"
    " requested_from, credential_id, user_verified, rule FROM fido2_session"
)
CONSUME: Final = Query(
    "UPDATE fido2_session SET consumed_at = :now, updated_at = :now WHERE challenge = :challenge AND kind = :kind"
    " AND authority = :authority AND consumed_at IS NULL AND expires_at > :now"
    " RETURNING id, kind, username, challenge, authority, options, state, updated_at, expires_at, consumed_at,"
    " requested_from, credential_id, user_verified, rule",
    Fido2Session,
)
SESSION_OF_CHALLENGE: Final = Query(f"{_SESSION} WHERE challenge = :challenge AND kind = :kind", Fido2Session)
SESSION: Final = Query(f"{_SESSION} WHERE id = :id", Fido2Session)
END: Final = Query(
    "UPDATE fido2_session SET state = :state, username = :username, credential_id = :credential_id,"
    " user_verified = :user_verified, rule = :rule, updated_at = :now WHERE id = :id",
    Nothing,
)
FAIL_OPEN: Final = Query(
    "UPDATE fido2_session SET state = 'failed', rule = 'challenge', consumed_at = :now, updated_at = :now"
    " WHERE consumed_at IS NULL",
    Nothing,
    patient=True,
)
PURGE_SESSIONS: Final = Query("DELETE FROM fido2_session WHERE created_at < :before", Nothing, patient=True)
