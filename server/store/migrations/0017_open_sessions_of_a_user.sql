-- What is open for a user is ended with the user, a key or a target. Sessions for whoever answers are not in it.
CREATE INDEX session_open_by_username ON session (username)
    WHERE username IS NOT NULL AND state IN ('tokenCreated', 'clientRegistering', 'clientAuthenticating');
