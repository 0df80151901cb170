"""The OAuth side: authorization server, client attester and protected API, each with keys of its own."""
