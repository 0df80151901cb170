-- Authorization requests that wait for a person in a browser: pushed by a client, or opened there as they are.
-- `acr` is what the log-in must be one of, `browser_hash` of the cookie of the browser that opened it.
CREATE TABLE oauth_request (
    request_hash TEXT PRIMARY KEY,
    client_id TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    scope TEXT NOT NULL,
    acr TEXT NOT NULL,
    logged_in_since BIGINT NOT NULL,
    jkt TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    state TEXT,
    nonce TEXT,
    message_of TEXT,
    message_hash TEXT,
    browser_hash TEXT,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX oauth_request_by_browser ON oauth_request (browser_hash);
CREATE INDEX oauth_request_by_expiry ON oauth_request (expires_at);
