"""A P-256 or P-384 private key in a PKCS#11 token."""

from typing import Any, Final

from pkcs11 import KDF, Attribute, KeyType, Mechanism

from fidoloop.hsm.hardware_keys import BaseEcKey
from fidoloop.hsm.keystore import KeyInfo
from fidoloop.hsm.pkcs11.objects import HeldObject

_ECDSA: Final = Mechanism.ECDSA  # looked up once: an enumeration's members are slow to get
_SHARED = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: False,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}


class Pkcs11EcKey(BaseEcKey):
    """See `EcHardwareKey`; made by the key store."""

    def __init__(self, held: HeldObject, info: KeyInfo) -> None:
        """Take the private key object and what was read of it."""
        super().__init__(info)
        self._held = held

    def sign_digest_raw(self, digest: bytes) -> bytes:
        """Sign a digest of `key_size // 8` bytes (CKM_ECDSA); return r || s, each as long as the curve's order.

        Raises:
            ValueError: the digest has another length.
            NotSupported: the key is not for signing.
            KeyStoreError: the token said no.
        """
        self._check_digest(digest)
        # What python-pkcs11's `sign` calls for bytes, without its packing and unpacking: a fortieth of a signature.
        raw: bytes = self._held.call("signing", lambda key: key._sign(digest, _ECDSA))
        return raw

    def _agree(self, point: bytes) -> bytes:
        return self._held.call("agreeing on a key", lambda key: _derive(key, point, self._size))


def _derive(key: Any, point: bytes, size: int) -> bytes:  # noqa: ANN401  # a python-pkcs11 object
    shared = key.derive_key(
        KeyType.GENERIC_SECRET,
        8 * size,
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template=_SHARED,
    )
    try:
        return bytes(shared[Attribute.VALUE]).rjust(size, b"\0")
    finally:
        shared.destroy()
