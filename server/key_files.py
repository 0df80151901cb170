"""Private keys of this server in files: made once, PEM, readable by their owner only."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from fidoloop.server.errors import ConfigError


def ensure_key(path: Path, what: str) -> ec.EllipticCurvePrivateKey:
    """Return the key in `path`, making it (P-256, PEM, mode 0600) where it is missing.

    Of several processes that start at once one makes it, and all have the same. `what` it is stands in errors.

    Raises:
        ConfigError: the file cannot be read or written, or holds no such key.
    """
    try:
        if not path.exists():
            make_key(path)
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no private key, PEM, not encrypted"
        raise ConfigError(f"{what} {path}: {reason}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{what} {path}: not of P-256")
    return key


def make_key(path: Path) -> None:
    """Make a key in `path` unless there is one. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    staged = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        # A link, unlike a rename, leaves alone what another process was first with.
        os.link(staged, path)
    except FileExistsError:
        return
    finally:
        staged.unlink(missing_ok=True)
