"""WebAuthn Level 3 on the relying party's side: messages, all checks of sections 7.1 and 7.2, attestation, metadata."""
