-- Ids and challenges are base64url. `authority` is who may answer a registration; options are JSON.
CREATE TABLE fido2_credential (
    id TEXT PRIMARY KEY,
    rp_id TEXT NOT NULL,
    username TEXT NOT NULL REFERENCES account (username),
    public_key BLOB NOT NULL,
    sign_count BIGINT NOT NULL,
    uv_initialized BIGINT NOT NULL,
    backup_eligible BIGINT NOT NULL,
    backup_state BIGINT NOT NULL,
    transports TEXT NOT NULL,
    discoverable BIGINT,
    aaguid TEXT NOT NULL,
    format TEXT NOT NULL,
    attestation_type TEXT NOT NULL,
    trusted BIGINT NOT NULL,
    model TEXT,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE INDEX fido2_credential_by_username ON fido2_credential (username);
CREATE TABLE fido2_session (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    username TEXT,
    challenge TEXT NOT NULL,
    authority TEXT NOT NULL,
    options TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    consumed_at BIGINT,
    requested_from TEXT NOT NULL,
    credential_id TEXT,
    user_verified BIGINT,
    rule TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX fido2_session_by_challenge ON fido2_session (challenge);
CREATE INDEX fido2_session_by_address ON fido2_session (requested_from, created_at);
