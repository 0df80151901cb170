-- The pages in a browser. Cookies are kept as their SHA-256 only.
-- What a page began and may watch: `browser_hash` is of the cookie that may, `username` whom it was asked for, if anybody.
CREATE TABLE web_operation (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    session_id TEXT NOT NULL,
    browser_hash TEXT NOT NULL,
    username TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX web_operation_by_browser ON web_operation (browser_hash);
CREATE INDEX web_operation_by_age ON web_operation (created_at);
-- A browser that is logged in, and by which key.
CREATE TABLE web_login (
    cookie_hash TEXT PRIMARY KEY,
    username TEXT NOT NULL REFERENCES account (username),
    aaid TEXT NOT NULL,
    key_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
-- A browser whose user had it remembered.
CREATE TABLE web_browser (
    cookie_hash TEXT NOT NULL,
    username TEXT NOT NULL REFERENCES account (username),
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (cookie_hash, username)
);
-- When a user was last sent pushes from the pages, and the session of the last one. There need not be such a user.
CREATE TABLE web_push (
    username TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    last_at BIGINT NOT NULL,
    second_at BIGINT NOT NULL,
    third_at BIGINT NOT NULL,
    fourth_at BIGINT NOT NULL,
    fifth_at BIGINT NOT NULL
);
