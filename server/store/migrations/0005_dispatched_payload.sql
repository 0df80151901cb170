-- What was dispatched to a target, encrypted to it: its device can ask for what never arrived.
CREATE TABLE dispatched_payload (
    target_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (target_id, session_id)
) WITHOUT ROWID;
CREATE INDEX dispatched_payload_by_session ON dispatched_payload (session_id);
