"""The authorization-code flow in a browser: pushed requests, the authorization endpoint, consent."""
