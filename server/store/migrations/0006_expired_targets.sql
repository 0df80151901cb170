-- A push service said that the target's address is gone: until the phone names another, nothing can be pushed there.
ALTER TABLE dispatch_target ADD COLUMN expired_at BIGINT;
