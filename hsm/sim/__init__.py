"""Simulated devices. Only here may key material live in Python."""
