"""FIDO2: registration and authentication ceremonies over the store, callable with no HTTP around them."""
