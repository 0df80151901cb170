-- What a registration said beside its key: the displays of its authenticator (JSON), whether its keystore vouched for the
-- key, and how the user was verified (JSON).
ALTER TABLE credential ADD COLUMN display_characteristics TEXT;
ALTER TABLE credential ADD COLUMN key_attested BIGINT NOT NULL DEFAULT 0;
ALTER TABLE credential ADD COLUMN verification_methods TEXT;
