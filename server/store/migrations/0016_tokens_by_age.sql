-- Tokens and proofs lie in the order they came and only their hashes are scattered: a token request writes a third less.
CREATE TABLE oauth_token_by_age (
    token_hash TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    grant_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
INSERT INTO oauth_token_by_age (token_hash, kind, grant_id, scope, issued_at, expires_at, used_at)
    SELECT token_hash, kind, grant_id, scope, issued_at, expires_at, used_at FROM oauth_token ORDER BY issued_at;
DROP TABLE oauth_token;
ALTER TABLE oauth_token_by_age RENAME TO oauth_token;
CREATE INDEX oauth_token_by_expiry ON oauth_token (expires_at);
CREATE INDEX oauth_token_by_grant ON oauth_token (grant_id);
CREATE TABLE oauth_replay_by_age (
    replay_key TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
INSERT INTO oauth_replay_by_age (replay_key, expires_at)
    SELECT replay_key, expires_at FROM oauth_replay ORDER BY expires_at;
DROP TABLE oauth_replay;
ALTER TABLE oauth_replay_by_age RENAME TO oauth_replay;
CREATE INDEX oauth_replay_by_expiry ON oauth_replay (expires_at);
