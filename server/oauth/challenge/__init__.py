"""The authorization challenge endpoint (OAuth 2.0 for First-Party Applications) with FIDO steps."""
