-- Times are milliseconds since the epoch. PostgreSQL gets BYTEA for BLOB, and nothing for WITHOUT ROWID, which keeps
-- a row and its key in one page on SQLite: fewer pages to write in the transactions of a log-in.
CREATE TABLE account (
    username TEXT PRIMARY KEY,
    disabled_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE TABLE credential (
    aaid TEXT NOT NULL,
    key_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    username TEXT NOT NULL REFERENCES account (username),
    public_key BLOB NOT NULL,
    public_key_format BIGINT NOT NULL,
    signature_algorithm BIGINT NOT NULL,
    authenticator_version BIGINT NOT NULL,
    sign_counter BIGINT NOT NULL,
    registration_counter BIGINT NOT NULL,
    attestation_type BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    PRIMARY KEY (key_id, aaid, app_id)
) WITHOUT ROWID;
CREATE INDEX credential_by_username ON credential (username);
CREATE TABLE dispatch_target (
    id TEXT PRIMARY KEY,
    username TEXT NOT NULL REFERENCES account (username),
    name TEXT NOT NULL,
    device_id TEXT,
    dispatcher TEXT,
    target TEXT,
    signature_key TEXT NOT NULL,
    encryption_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    UNIQUE (username, name)
);
-- One operation from its token (where it has one) over its UAF request to its outcome.
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    op TEXT NOT NULL,
    username TEXT,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    requested_from TEXT NOT NULL,
    target_id TEXT,
    token TEXT,
    context TEXT,
    token_expires_at BIGINT,
    redeemed_at BIGINT,
    dispatcher TEXT,
    dispatcher_response TEXT,
    server_data TEXT,
    challenge TEXT,
    policy TEXT,
    transactions TEXT,
    request_expires_at BIGINT,
    consumed_at BIGINT,
    uaf_status BIGINT,
    asm_status BIGINT,
    client_error BIGINT,
    authenticators TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX session_by_token ON session (token) WHERE token IS NOT NULL;
CREATE UNIQUE INDEX session_by_server_data ON session (server_data) WHERE server_data IS NOT NULL;
CREATE TABLE used_request (
    target_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (target_id, request_id)
);
CREATE TABLE audit (
    at BIGINT NOT NULL,
    event TEXT NOT NULL,
    outcome BIGINT NOT NULL,
    username TEXT,
    aaid TEXT,
    key_id TEXT,
    session_id TEXT,
    address TEXT,
    requested_from TEXT
);
CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
