"""FIDO UAF 1.0 and 1.1: registry, TLV, assertions, messages, policy, metadata and the rules that verify them."""
