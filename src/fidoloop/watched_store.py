"""A key store that tells what it is asked for: what goes between the phone and its token."""

import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.hsm.hardware_keys import BaseEcKey
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
from fidoloop.protocol.evidence.values import Evidence
from fidoloop.traffic import Party, Traffic


class WatchedStore(KeyStore):
    """Passes everything on to a store; keys made, signatures, agreements and PINs are told.

    Keys that are not of an elliptic curve are made before one's eyes, and then work unseen.
    """

    def __init__(self, store: KeyStore, traffic: Traffic) -> None:
        """Take the store, which stays its owner's to close."""
        self._store = store
        self._traffic = traffic
        self.uri = store.uri

    def info(self) -> TokenInfo:
        """Describe the token."""
        return self._store.info()

    def generate(
        self, algorithm: KeyAlgorithm, usage: KeyUsage, *, key_id: bytes, label: str, place: str = ""
    ) -> HardwareKey:
        """Make a key pair in the token."""
        started = time.perf_counter()
        key = self._store.generate(algorithm, usage, key_id=key_id, label=label, place=place)
        self._told(f"make a {algorithm} key pair", len(key_id), "public key", 0, started)
        return self._watched(key)

    def key(self, key_id: bytes) -> HardwareKey:
        """Open the key with this id."""
        return self._watched(self._store.key(key_id))

    def list(self) -> list[KeyInfo]:
        """Return all keys."""
        return self._store.list()

    def delete(self, key_id: bytes) -> None:
        """Destroy every object with this id."""
        self._store.delete(key_id)

    def put_certificate(self, key_id: bytes, der: bytes, label: str) -> None:
        """Store a certificate."""
        self._store.put_certificate(key_id, der, label)

    def certificate(self, key_id: bytes) -> bytes | None:
        """Return the certificate stored under this id, or None."""
        return self._store.certificate(key_id)

    def mac_key(self, key_id: bytes, label: str, *, make: bool = True) -> MacKey | None:
        """Open or make the HMAC key with this id."""
        return self._store.mac_key(key_id, label, make=make)

    def verify_pin(self, pin: str) -> None:
        """Ask the token itself whether this is the user's PIN."""
        started = time.perf_counter()
        self._store.verify_pin(pin)
        self._told("verify the user's PIN", 0, "right", 0, started)

    def random(self, n: int) -> bytes:
        """Return random bytes made by the token."""
        return self._store.random(n)

    def attest(self, key_id: bytes, nonce: bytes) -> Evidence:
        """Return evidence about the key."""
        return self._store.attest(key_id, nonce)

    def close(self) -> None:
        """Leave the store open: it is its owner's."""

    def _watched(self, key: HardwareKey) -> HardwareKey:
        return _WatchedKey(key, self._told) if isinstance(key, EcHardwareKey) else key

    def _told(self, asked: str, asked_size: int, answered: str, answered_size: int, started: float) -> None:
        took = (time.perf_counter() - started) * 1000
        self._traffic.tell(Party.PHONE, Party.TOKEN, asked, asked_size, ago=took)
        self._traffic.tell(Party.TOKEN, Party.PHONE, answered, answered_size, took=took)


_Told = Callable[[str, int, str, int, float], None]


class _WatchedKey(BaseEcKey):
    def __init__(self, key: EcHardwareKey, told: _Told) -> None:
        super().__init__(key.info)
        self._key = key
        self._told = told

    def sign_digest_raw(self, digest: bytes) -> bytes:
        started = time.perf_counter()
        signature = self._key.sign_digest_raw(digest)
        self._told("sign a digest", len(digest), "signature", len(signature), started)
        return signature

    def _agree(self, point: bytes) -> bytes:
        started = time.perf_counter()
        other = ec.EllipticCurvePublicKey.from_encoded_point(self._key.curve, point)
        shared = self._key.exchange(ec.ECDH(), other)
        self._told("agree on a key (ECDH)", len(point), "shared secret", len(shared), started)
        return shared
