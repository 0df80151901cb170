"""This server's VAPID key (RFC 8292): made once, kept in its home. Subscriptions are bound to it."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.server.key_files import ensure_key


def ensure_vapid_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key in `path`, making it where it is missing. Raises ConfigError."""
    return ensure_key(path, "the VAPID key")
