"""An Ed25519 or Ed448 private key in a PKCS#11 token."""

from typing import Any, NoReturn, Self

from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.utils import Buffer
from pkcs11 import Mechanism

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import Ed448HardwareKey, Ed25519HardwareKey, KeyInfo, KeyUsage
from fidoloop.hsm.pkcs11.objects import HeldObject


class _Pkcs11EdKey:
    """What both kinds have; made by the key store. The token hashes: the whole message goes to it."""

    def __init__(self, held: HeldObject, info: KeyInfo) -> None:
        """Take the private key object and what was read of it."""
        self._held = held
        self._info = info

    @property
    def key_id(self) -> bytes:
        """CKA_ID of the key."""
        return self._info.key_id

    @property
    def info(self) -> KeyInfo:
        """Attributes of the key, read when it was first opened."""
        return self._info

    def sign(self, data: Buffer) -> bytes:
        """Sign (CKM_EDDSA). Raises NotSupported where the key is not for signing, KeyStoreError."""
        if KeyUsage.SIGN not in self._info.usage:
            raise NotSupported("this key is not for signing")
        message = bytes(data)
        signature: bytes = self._held.call("signing", lambda key: key.sign(message, mechanism=Mechanism.EDDSA))
        return signature

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        """Refuse: the private key stays in the device."""
        raise TypeError("a hardware key cannot be written out")

    def private_bytes_raw(self) -> NoReturn:
        """Refuse: the private key stays in the device."""
        raise TypeError("a hardware key does not give its private number")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class Pkcs11Ed25519Key(_Pkcs11EdKey, Ed25519HardwareKey):
    """See `Ed25519HardwareKey`."""

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """Return the public key."""
        assert isinstance(self._info.public_key, ed25519.Ed25519PublicKey)
        return self._info.public_key


class Pkcs11Ed448Key(_Pkcs11EdKey, Ed448HardwareKey):
    """See `Ed448HardwareKey`."""

    def public_key(self) -> ed448.Ed448PublicKey:
        """Return the public key."""
        assert isinstance(self._info.public_key, ed448.Ed448PublicKey)
        return self._info.public_key
