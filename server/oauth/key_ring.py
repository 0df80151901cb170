"""Signing keys of one role, with overlap: a new key is published before it signs, an old one after it last did."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fidoloop.protocol import jose
from fidoloop.protocol.jose import PublicJwk
from fidoloop.server.errors import ConfigError
from fidoloop.server.key_files import ensure_key, make_key

Role = Literal["as", "attester"]
PUBLISHED_BEFORE: Final = timedelta(minutes=10)
"""A new key signs so long after it was made: whoever keeps a copy of the key set has asked again by then."""
KEPT_AFTER: Final = timedelta(days=2)
"""A key is published so long after its successor began to sign: longer than any token it signed is good."""
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_RELOAD_MILLIS: Final = 1000
_PUBLISHED_MILLIS: Final = int(PUBLISHED_BEFORE.total_seconds() * 1000)


class SigningKey(NamedTuple):
    """A private key, its public JWK, and when it was made (epoch milliseconds); `kid` is the thumbprint."""

    key: ec.EllipticCurvePrivateKey
    jwk: PublicJwk
    kid: str
    made_at: int


class KeyRing:
    """The keys `ROLE-TIME.pem` of a directory, looked at again once a second."""

    def __init__(self, directory: Path, role: Role, now: int) -> None:
        """Read the keys, making a first one where there is none; `now` is in epoch milliseconds.

        Raises:
            ConfigError: a file cannot be read or written, or holds no such key.
        """
        self._directory = directory
        self._role: Role = role
        self._names: list[str] = []
        self._keys: list[SigningKey] = []
        self._public: dict[str, PublicJwk] = {}
        if not self._listed():
            rotate(directory, role, now)
        self._looked_at = now
        self._read()

    def refresh(self, now: int) -> None:
        """Look at the directory again, at most once a second. Raises ConfigError."""
        if not 0 <= now - self._looked_at < _RELOAD_MILLIS:
            self._looked_at = now
            if self._listed() != self._names:
                self._read()

    def signing_key(self, now: int) -> SigningKey:
        """Return the newest key that was published long enough."""
        latest = now - _PUBLISHED_MILLIS
        for key in reversed(self._keys):
            if key.made_at <= latest:
                return key
        return self._keys[0]

    def public_keys(self) -> dict[str, PublicJwk]:
        """Return every published key by its kid."""
        return self._public

    def secrets(self, label: str) -> list[bytes]:
        """Return 32 bytes for each key, newest first, that are as secret as it is; those of one label tell of none."""
        return [hmac.digest(_seed(key.key), label.encode("utf-8"), "sha256") for key in reversed(self._keys)]

    def _listed(self) -> list[str]:
        return sorted(path.name for path in self._directory.glob(f"{self._role}-*.pem"))

    def _read(self) -> None:
        names = self._listed()
        self._keys = [_load(self._directory / name, self._role) for name in names]
        self._names = names
        self._public = {key.kid: key.jwk for key in self._keys}


def rotate(directory: Path, role: Role, now: int) -> tuple[str, list[str]]:
    """Make a new key and remove those that have verified long enough; return its file's name and the removed ones'.

    Raises:
        ConfigError: the directory cannot be written.
    """
    at = datetime.fromtimestamp(now / 1000, UTC)
    name = f"{role}-{at.strftime(_STAMP)}.pem"
    try:
        make_key(directory / name)
        names = sorted(path.name for path in directory.glob(f"{role}-*.pem"))
        removed = [
            old for old, successor in pairwise(names) if _made_at(successor, role) + PUBLISHED_BEFORE + KEPT_AFTER < at
        ]
        for old in removed:
            (directory / old).unlink()
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}") from None
    return name, removed


def _load(path: Path, role: Role) -> SigningKey:
    key = ensure_key(path, "the signing key")
    jwk = jose.public_jwk(key.public_key())
    return SigningKey(key, jwk, jwk.thumbprint, int(_made_at(path.name, role).timestamp() * 1000))


def _made_at(name: str, role: Role) -> datetime:
    try:
        return datetime.strptime(name.removeprefix(f"{role}-"), f"{_STAMP}.pem").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError(f"{name}: a key's file is called {role}-YYYYMMDDTHHMMSSZ.pem") from None


def _seed(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).digest()
