-- What the phone must answer beside its response, a JSON text, and how often it may still be wrong.
ALTER TABLE session ADD COLUMN channel_linking TEXT;
ALTER TABLE session ADD COLUMN linking_tries_left BIGINT;
