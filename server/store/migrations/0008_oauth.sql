-- Clients of the authorization server: one is one device, bound to one key.
CREATE TABLE oauth_client (
    id TEXT PRIMARY KEY,
    jkt TEXT NOT NULL,
    jwk TEXT NOT NULL,
    auth_method TEXT NOT NULL,
    metadata TEXT NOT NULL,
    device TEXT NOT NULL,
    registration_token_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
-- What a person allowed a client, by which authentication; its codes and tokens die with it.
CREATE TABLE oauth_grant (
    id TEXT PRIMARY KEY,
    client_id TEXT NOT NULL REFERENCES oauth_client (id),
    username TEXT NOT NULL REFERENCES account (username),
    scope TEXT NOT NULL,
    acr TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    jkt TEXT NOT NULL,
    nonce TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX oauth_grant_by_client ON oauth_grant (client_id);
CREATE INDEX oauth_grant_by_expiry ON oauth_grant (expires_at);
CREATE TABLE oauth_code (
    code_hash TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL,
    redirect_uri TEXT,
    code_challenge TEXT,
    message_of TEXT,
    message_hash TEXT,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX oauth_code_by_expiry ON oauth_code (expires_at);
CREATE TABLE oauth_token (
    token_hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX oauth_token_by_expiry ON oauth_token (expires_at);
CREATE INDEX oauth_token_by_grant ON oauth_token (grant_id);
-- Proofs that were used: what must not be seen again until then.
CREATE TABLE oauth_replay (
    replay_key TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX oauth_replay_by_expiry ON oauth_replay (expires_at);
