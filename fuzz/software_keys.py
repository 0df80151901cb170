"""A key store of software keys that forgets: real ones take a disk's time for every key, a fuzzer has none."""

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from fidoloop.hsm.errors import KeyExists, KeyGone, NotSupported, PinIncorrect
from fidoloop.hsm.hardware_keys import BaseEcKey
from fidoloop.hsm.keystore import (
    HardwareKey,
    KeyAlgorithm,
    KeyInfo,
    KeyStore,
    KeyUsage,
    MacKey,
    TokenInfo,
)

PIN = "123456"


class SoftwareKey(BaseEcKey):
    """A P-256 key in this process."""

    def __init__(self, private: ec.EllipticCurvePrivateKey, info: KeyInfo) -> None:
        super().__init__(info)
        self._private = private

    def sign_digest_raw(self, digest: bytes) -> bytes:
        """Return r and s of a SHA-256 digest, 32 bytes each; see BaseEcKey."""
        self._check_digest(digest)
        r, s = decode_dss_signature(self._private.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
        return r.to_bytes(32) + s.to_bytes(32)

    def _agree(self, point: bytes) -> bytes:
        return self._private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(self.curve, point))


class _Mac:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mac(self, data: bytes) -> bytes:
        return hmac.digest(self._secret, data, hashlib.sha256)


class SoftwareKeys(KeyStore):
    """P-256 keys by their ids."""

    uri = "fuzz:"

    def __init__(self) -> None:
        self._keys: dict[bytes, SoftwareKey] = {}
        self._certificates: dict[bytes, bytes] = {}
        self._macs: dict[bytes, _Mac] = {}

    def info(self) -> TokenInfo:
        """Describe it."""
        return TokenInfo("softhsm", "fuzz", "fuzz", "fuzz", "1", "1", hardware=False, mechanisms=frozenset({"ECDSA"}))

    def generate(
        self, algorithm: KeyAlgorithm, usage: KeyUsage, *, key_id: bytes, label: str, place: str = ""
    ) -> HardwareKey:
        """Make a P-256 key."""
        if algorithm is not KeyAlgorithm.P256 or place:
            raise NotSupported("P-256 only")
        if key_id in self._keys:
            raise KeyExists("a key of this id is there")
        private = ec.generate_private_key(ec.SECP256R1())
        info = KeyInfo(key_id, label, algorithm, usage, private.public_key(), True, False, True, True)
        self._keys[key_id] = SoftwareKey(private, info)
        return self._keys[key_id]

    def key(self, key_id: bytes) -> HardwareKey:
        """Open a key."""
        if key_id not in self._keys:
            raise KeyGone("no key of this id")
        return self._keys[key_id]

    def list(self) -> list[KeyInfo]:
        """Return all keys."""
        return [self._keys[name].info for name in sorted(self._keys)]

    def delete(self, key_id: bytes) -> None:
        """Destroy a key."""
        self.key(key_id)
        del self._keys[key_id]

    def put_certificate(self, key_id: bytes, der: bytes, label: str) -> None:
        """Keep a certificate."""
        self._certificates[key_id] = der

    def certificate(self, key_id: bytes) -> bytes | None:
        """Return a certificate."""
        return self._certificates.get(key_id)

    def mac_key(self, key_id: bytes, label: str, *, make: bool = True) -> MacKey | None:
        """Open or make a MAC key."""
        if make:
            self._macs.setdefault(key_id, _Mac(hashlib.sha256(key_id).digest()))
        return self._macs.get(key_id)

    def verify_pin(self, pin: str) -> None:
        """Compare the PIN."""
        if pin != PIN:
            raise PinIncorrect("the PIN is wrong")

    def random(self, n: int) -> bytes:
        """Return random bytes."""
        return os.urandom(n)

    def close(self) -> None:
        """Forget everything."""
        self._keys.clear()
