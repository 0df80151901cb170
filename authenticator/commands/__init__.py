"""Authenticator commands as bytes: a TLV command in, a TLV response out (UAF authenticator commands 1.1; digest 7)."""
