-- What one process does for all that share the database, and until when it has claimed it.
CREATE TABLE job (
    name TEXT PRIMARY KEY,
    claimed_until BIGINT NOT NULL
);
