"""A CTAP 2.1 authenticator over a key store (FIDO Client to Authenticator Protocol 2.1, June 2021)."""
