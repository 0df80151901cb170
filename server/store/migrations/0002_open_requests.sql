-- Only requests that wait for their response are looked up by serverData: the index of those alone stays small, however
-- many sessions have ended, so that its pages are few and always at hand.
DROP INDEX session_by_server_data;
CREATE UNIQUE INDEX session_by_server_data ON session (server_data)
    WHERE server_data IS NOT NULL AND consumed_at IS NULL;
-- A session that ended by a response is its own entry of the audit trail, until it is removed.
ALTER TABLE session ADD COLUMN event TEXT;
ALTER TABLE session ADD COLUMN address TEXT;
