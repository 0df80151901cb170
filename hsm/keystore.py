"""What a key store is: the interface every kind of key hardware implements."""

import abc
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from types import TracebackType
from typing import Protocol, Self

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from fidoloop.hsm.errors import NotSupported
from fidoloop.protocol.evidence.values import Evidence

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey


class KeyAlgorithm(StrEnum):
    """What kinds of key a store can make."""

    P256 = "p256"
    P384 = "p384"
    RSA2048 = "rsa2048"
    P521 = "p521"
    SECP256K1 = "secp256k1"
    ED25519 = "ed25519"
    ED448 = "ed448"


class KeyUsage(Flag):
    """What a key may do: P-256 and P-384 keys SIGN or DERIVE, RSA2048 keys SIGN or DECRYPT, all others SIGN.

    Never two of them where the store decides.
    """

    SIGN = auto()
    DERIVE = auto()
    DECRYPT = auto()


@dataclass(frozen=True)
class TokenInfo:
    """What the token says about itself.

    `kind` is "softhsm", "tpm", "nss", "opensc", "pkcs11" (any other module) or "piv"; `hardware` is True only where the
    token says it is in a hardware slot and is not known to be a program or simulated; `mechanisms` holds PKCS#11 names
    without the CKM_ prefix ("ECDSA", "RSA_PKCS_OAEP"); `pin_pad` tells that the user types the PIN on the
    device; `makes_keys` is False where P-256 keys have to be made by other means; `algorithms` are the kinds of key to
    sign with that it is known to make. PKCS#11 lists mechanisms, not curves, so that a module may make more.
    """

    kind: str
    label: str
    manufacturer: str
    model: str
    serial: str
    firmware: str
    hardware: bool
    mechanisms: frozenset[str]
    pin_pad: bool = False
    makes_keys: bool = True
    algorithms: frozenset[KeyAlgorithm] = frozenset((KeyAlgorithm.P256,))


@dataclass(frozen=True)
class KeyInfo:
    """One key as the token describes it; attributes a token does not give count as the less secure value.

    `place` is the slot of a device that has few (PIV: "9a", "82"), empty elsewhere; `pin_always` tells that the device
    wants the PIN before every use.
    """

    key_id: bytes
    label: str
    algorithm: KeyAlgorithm
    usage: KeyUsage
    public_key: PublicKey
    sensitive: bool
    extractable: bool
    never_extractable: bool
    local: bool
    place: str = ""
    pin_always: bool = False


class InDevice(abc.ABC):
    """What every private key has that stays in its device."""

    @property
    @abc.abstractmethod
    def key_id(self) -> bytes:
        """CKA_ID of the key."""

    @property
    @abc.abstractmethod
    def info(self) -> KeyInfo:
        """Attributes of the key, read when it was first opened."""


class EcHardwareKey(InDevice, ec.EllipticCurvePrivateKey):
    """An EC private key that stays in its device: cryptography's interface, plus a fast raw signature."""

    @abc.abstractmethod
    def sign_digest_raw(self, digest: bytes) -> bytes:
        """Sign `digest` of `key_size // 8` bytes; return r || s, each as long as the curve's order, big-endian."""


class RsaHardwareKey(InDevice, rsa.RSAPrivateKey):
    """An RSA-2048 private key that stays in its device: cryptography's interface."""


class Ed25519HardwareKey(InDevice, ed25519.Ed25519PrivateKey):
    """An Ed25519 private key that stays in its device: cryptography's interface."""


class Ed448HardwareKey(InDevice, ed448.Ed448PrivateKey):
    """An Ed448 private key that stays in its device: cryptography's interface."""


EdHardwareKey = Ed25519HardwareKey | Ed448HardwareKey
HardwareKey = EcHardwareKey | RsaHardwareKey | EdHardwareKey


class MacKey(Protocol):
    """A symmetric key that stays in its device."""

    def mac(self, data: bytes) -> bytes:
        """Return HMAC-SHA-256 of `data`, 32 bytes."""


class KeyStore(abc.ABC):
    """One token, opened and logged in; a context manager. Every method may raise `KeyStoreError`.

    Safe to share between threads, and usable in a child after `os.fork`, or refused there (TPM): ModuleError.
    """

    uri: str
    """The URI this store was opened with, PIN redacted."""

    @abc.abstractmethod
    def info(self) -> TokenInfo:
        """Describe the token."""

    @abc.abstractmethod
    def generate(
        self, algorithm: KeyAlgorithm, usage: KeyUsage, *, key_id: bytes, label: str, place: str = ""
    ) -> HardwareKey:
        """Make a key pair in the token: sensitive, not extractable; at `place` where that is not empty.

        Raises:
            KeyExists: a key with this id is there already.
            KeyRefused: the token made a key that can leave it, or did not make it itself; it was destroyed.
            NotSupported: the token cannot make such a key, or has no such place, or the usage does not fit.
            TokenFull: there is no room; nothing is left behind.
        """

    @abc.abstractmethod
    def key(self, key_id: bytes) -> HardwareKey:
        """Open the key with this CKA_ID; the handle is kept. Raises KeyGone."""

    @abc.abstractmethod
    def list(self) -> list[KeyInfo]:
        """Return all keys of the kinds in `KeyAlgorithm`, sorted by id; other keys are left out."""

    @abc.abstractmethod
    def delete(self, key_id: bytes) -> None:
        """Destroy every object with this CKA_ID: key pair, certificate, MAC key. Raises KeyGone if there is none."""

    @abc.abstractmethod
    def put_certificate(self, key_id: bytes, der: bytes, label: str) -> None:
        """Store an X.509 certificate (DER) under this CKA_ID, in place of one that was there."""

    @abc.abstractmethod
    def certificate(self, key_id: bytes) -> bytes | None:
        """Return the X.509 certificate (DER) stored under this CKA_ID, or None."""

    @abc.abstractmethod
    def mac_key(self, key_id: bytes, label: str, *, make: bool = True) -> MacKey | None:
        """Open the HMAC-SHA-256 key with this CKA_ID, or make it; None where the token has no HMAC.

        Without `make` nothing is made: None also where there is no such key.
        """

    @abc.abstractmethod
    def verify_pin(self, pin: str) -> None:
        """Ask the token itself whether this is the user's PIN. Raises PinIncorrect, PinLocked.

        Where the token has a PIN pad, `pin` is not looked at and the user types it there. The store stays logged in
        either way. Logging in again with the right PIN resets the token's own
        counter of wrong tries, so a caller that lets people type PINs has to count them itself.
        """

    @abc.abstractmethod
    def random(self, n: int) -> bytes:
        """Return `n` random bytes made by the token."""

    def attest(self, key_id: bytes, nonce: bytes) -> Evidence:
        """Return evidence about the key, as good as the device can give it, for this `nonce` of 8 to 32 bytes.

        Raises:
            KeyGone: there is no such key.
            NotSupported: the device, or its way with this key, has no evidence; the message says why.
            ValueError: the nonce is of another size.
        """
        raise NotSupported(f"this kind of key store gives no evidence about key {key_id.hex()}")

    @abc.abstractmethod
    def close(self) -> None:
        """Give the token back; keys of this store stop working."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
