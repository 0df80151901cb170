-- Which client an entry is about, and the grants of a user.
ALTER TABLE audit ADD COLUMN client_id TEXT;
CREATE INDEX oauth_grant_by_user ON oauth_grant (username);
