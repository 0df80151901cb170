"""Private keys in the slots of a PIV card, with cryptography's interface."""

from collections.abc import Callable
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from fidoloop.hsm.errors import DeviceError, KeyGone
from fidoloop.hsm.hardware_keys import BaseEcKey, BaseRsaKey
from fidoloop.hsm.keystore import KeyAlgorithm, KeyInfo
from fidoloop.hsm.oaep import unpad_oaep
from fidoloop.hsm.piv import application as piv
from fidoloop.hsm.piv.application import PivApplication
from fidoloop.hsm.piv.slots import slot_named
from fidoloop.hsm.rsa_padding import OaepParameters, SignatureScheme, pad_signature

REFERENCES: Final = {KeyAlgorithm.P256: piv.P256, KeyAlgorithm.P384: piv.P384, KeyAlgorithm.RSA2048: piv.RSA2048}
"""Algorithm identifiers (NIST SP 800-78-4, table 6-2)."""
_HASHES: Final[dict[int, hashes.HashAlgorithm]] = {32: hashes.SHA256(), 48: hashes.SHA384()}


class Door(Protocol):
    """A store's way to its card."""

    @property
    def session(self) -> int:
        """Number of the transaction; as long as it stays the same, nobody else has used the card."""

    def run(self, doing: str, operation: Callable[[PivApplication], bytes]) -> bytes:
        """Run an operation in a transaction, logged in."""

    def log_in(self) -> None:
        """Send the PIN, within an operation."""

    def check_key(self, key_id: bytes) -> None:
        """Raise KeyGone where the key is not on the card any more."""


class KeyUse:
    """The way to one private key: in a transaction, with the PIN verified."""

    def __init__(self, door: "Door", info: KeyInfo) -> None:
        """Take the way to the card, and where on it the key is."""
        self.slot = slot_named(info.place).reference
        self.algorithm = REFERENCES[info.algorithm]
        self._door = door
        self._pin_always = info.pin_always
        self._key_id = info.key_id
        self._seen = -1

    def run(self, doing: str, operation: Callable[[PivApplication], bytes]) -> bytes:
        """Run an operation with the private key. Raises KeyGone, KeyStoreError."""

        def log_in_first(application: PivApplication) -> bytes:
            self._door.log_in()
            return operation(application)

        try:
            return self._door.run(doing, log_in_first if self._pin_always else operation)
        except DeviceError:
            self._door.check_key(self._key_id)
            raise

    def first_in_session(self) -> bool:
        """Tell whether others may have used the card since this was last asked."""
        session = self._door.session
        first, self._seen = session != self._seen, session
        return first

    def gone(self) -> KeyGone:
        """Return the error for a slot in which another key turned out to be."""
        return KeyGone(f"the key {self._key_id.hex()} is not on the card any more: another one is in its slot")


class PivEcKey(BaseEcKey):
    """See `EcHardwareKey`; made by the key store."""

    def __init__(self, use: KeyUse, info: KeyInfo) -> None:
        """Take the way to the key and what was read of it."""
        super().__init__(info)
        self._use = use

    def sign_digest_raw(self, digest: bytes) -> bytes:
        """Sign a digest as long as the curve's order and return r || s, each of that length.

        Whether it is this key that signed is checked whenever another program may have used the card since.

        Raises:
            ValueError: the digest has another length.
            NotSupported: the key is not for signing.
            KeyGone: another key is in the slot.
            KeyStoreError: the card said no.
        """
        self._check_digest(digest)
        use, size = self._use, self._size
        der = use.run("signing", lambda application: application.sign(use.slot, use.algorithm, digest))
        try:
            r, s = utils.decode_dss_signature(der)
            raw = r.to_bytes(size, "big") + s.to_bytes(size, "big")
        except (ValueError, OverflowError):
            raise DeviceError("the card's signature is malformed") from None
        if use.first_in_session():
            try:
                self._public.verify(der, digest, ec.ECDSA(utils.Prehashed(_HASHES[size])))
            except InvalidSignature:
                raise use.gone() from None
        return raw

    def _agree(self, point: bytes) -> bytes:
        use = self._use
        shared = use.run("agreeing on a key", lambda application: application.agree(use.slot, use.algorithm, point))
        if len(shared) != self._size:
            raise DeviceError("the card's shared secret has not the length of the curve's coordinates")
        return shared


class PivRsaKey(BaseRsaKey):
    """See `RsaHardwareKey`; made by the key store. The card does the raw operation, paddings are the host's."""

    def __init__(self, use: KeyUse, info: KeyInfo) -> None:
        """Take the way to the key and what was read of it."""
        super().__init__(info)
        self._use = use

    def _sign_digest(self, digest: bytes, scheme: SignatureScheme) -> bytes:
        return self._raw("signing", pad_signature(digest, scheme, self.key_size // 8))

    def _decrypt_oaep(self, ciphertext: bytes, parameters: OaepParameters) -> bytes:
        block = self._raw("decrypting", ciphertext)
        return unpad_oaep(
            block, hash_name=parameters.hash_name, mgf_hash_name=parameters.mgf_hash, label=parameters.label
        )

    def _raw(self, doing: str, block: bytes) -> bytes:
        """Return the raw RSA result, undone with the public key to see that it was this key."""
        use, size = self._use, self.key_size // 8
        result = use.run(doing, lambda application: application.sign(use.slot, use.algorithm, block))
        numbers = self._public.public_numbers()
        if pow(int.from_bytes(result, "big"), numbers.e, numbers.n) != int.from_bytes(block, "big"):
            raise use.gone()
        return result.rjust(size, b"\0")


def hardware_key(use: KeyUse, info: KeyInfo) -> PivEcKey | PivRsaKey:
    """Return the key object for a key of either kind."""
    if isinstance(info.public_key, rsa.RSAPublicKey):
        return PivRsaKey(use, info)
    return PivEcKey(use, info)
