-- Token buckets: when each is full again, in microseconds since the epoch, and how many its last lease granted.
CREATE TABLE rate_limit (
    name TEXT PRIMARY KEY,
    full_at BIGINT NOT NULL,
    granted BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX rate_limit_by_time ON rate_limit (full_at);
DROP TABLE password_try;
