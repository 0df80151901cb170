"""OAuth on the wire: DPoP proofs, client attestations, device evidence, nonces and policies."""
