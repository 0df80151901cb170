"""A key store of software keys that forgets: real ones take a disk's time for every key, a fuzzer has none."""

import hashlib
import hmac
import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from fidoloop.hsm.errors import KeyExists, KeyGone, NotSupported, PinIncorrect
from fidoloop.hsm.keystore import (
    EcHardwareKey,
    HardwareKey,
    KeyAlgorithm,
    KeyInfo,
    KeyStore,
    KeyUsage,
    MacKey,
    TokenInfo,
)

PIN = "123456"


class SoftwareKey(EcHardwareKey):
    """A P-256 key in this process."""

    def __init__(self, private: ec.EllipticCurvePrivateKey, info: KeyInfo) -> None:
        self._private, self._info = private, info

    @property
    def key_id(self) -> bytes:
        """CKA_ID."""
        return self._info.key_id

    @property
    def info(self) -> KeyInfo:
        """What it is."""
        return self._info

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._private.curve

    @property
    def key_size(self) -> int:
        """256."""
        return self._private.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        return self._private.public_key()

    def sign(self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # type: ignore[override]  # as the hardware's have it
        """Sign."""
        return self._private.sign(data, signature_algorithm)

    def sign_digest_raw(self, digest: bytes) -> bytes:
        """Sign a digest, r and s."""
        r, s = decode_dss_signature(self._private.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
        return r.to_bytes(32) + s.to_bytes(32)

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Derive."""
        return self._private.exchange(algorithm, peer_public_key)

    def private_numbers(self) -> Any:  # noqa: ANN401 - it never returns
        """Refuse."""
        raise NotSupported("the key stays here")

    def private_bytes(self, *_: object) -> Any:  # noqa: ANN401 - it never returns
        """Refuse."""
        raise NotSupported("the key stays here")

    def __copy__(self) -> "SoftwareKey":
        return self

    def __deepcopy__(self, _: object) -> "SoftwareKey":
        return self


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
