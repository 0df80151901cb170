"""Evidence about a key and its device: read and verified, never fetched (`specs/oauth.md` section 7)."""
