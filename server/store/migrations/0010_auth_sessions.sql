-- auth_sessions of the authorization challenge endpoint: one per attempt of one client, bound to its key.
CREATE TABLE oauth_session (
    session_hash TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    jkt TEXT NOT NULL,
    scope TEXT NOT NULL,
    acr TEXT NOT NULL,
    username TEXT,
    code_challenge TEXT,
    nonce TEXT,
    step TEXT,
    tries BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX oauth_session_by_expiry ON oauth_session (expires_at);
-- What the FIDO2 service found of an assertion, for the session and key that asked for it.
CREATE TABLE oauth_fido2_token (
    token_hash TEXT PRIMARY KEY,
    session_hash TEXT NOT NULL,
    jkt TEXT NOT NULL,
    username TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX oauth_fido2_token_by_expiry ON oauth_fido2_token (expires_at);
-- Passwords, for enrolment only, and wrong tries by the name that was tried, whether anybody is called so or not.
CREATE TABLE account_password (
    username TEXT PRIMARY KEY REFERENCES account (username),
    verifier TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE TABLE password_try (
    name_hash TEXT PRIMARY KEY,
    tries BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
