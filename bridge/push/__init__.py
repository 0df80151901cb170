"""The phone's own push service (RFC 8030): it is pushed to, decrypts, and hands on what is from its own servers."""
