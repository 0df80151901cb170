"""What a CTAP2 authenticator reads and writes: pure bytes and values. What relying parties read is in webauthn/."""
