-- Only requests that wait for their response are looked up by serverData: the index of those alone stays small, however
-- many sessions have ended, so that its pages are few and always at hand.
DROP INDEX session_by_server_data;
CREATE UNIQUE INDEX session_by_server_data ON session (server_data)
    WHERE server_data IS NOT NULL AND consumed_at IS NULL;
