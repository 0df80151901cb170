"""A P-256 private key in a PKCS#11 token, with cryptography's interface."""

from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.utils import Buffer
from pkcs11 import KDF, Attribute, KeyType, Mechanism

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import EcHardwareKey, KeyInfo, KeyUsage
from fidoloop.hsm.pkcs11.hashing import digest_of
from fidoloop.hsm.pkcs11.objects import HeldObject

_SHARED = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: False,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}


class Pkcs11EcKey(EcHardwareKey):
    """See `EcHardwareKey`; made by the key store."""

    def __init__(self, held: HeldObject, info: KeyInfo) -> None:
        """Take the private key object and what was read of it."""
        assert isinstance(info.public_key, ec.EllipticCurvePublicKey)
        self._held = held
        self._info = info
        self._public = info.public_key
        self._may_sign = KeyUsage.SIGN in info.usage

    @property
    def key_id(self) -> bytes:
        """CKA_ID of the key."""
        return self._info.key_id

    @property
    def info(self) -> KeyInfo:
        """Attributes of the key, read when it was first opened."""
        return self._info

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """256."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        return self._public

    def sign_digest_raw(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest (CKM_ECDSA) and return r || s, 64 bytes.

        Raises:
            ValueError: the digest is not 32 bytes long.
            NotSupported: the key is not for signing.
            KeyStoreError: the token said no.
        """
        if len(digest) != 32:
            raise ValueError(f"the digest has 32 bytes, not {len(digest)}")
        if not self._may_sign:
            raise NotSupported("this key is not for signing")
        raw: bytes = self._held.call("signing", lambda key: key.sign(digest, mechanism=Mechanism.ECDSA))
        return raw

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Hash on the host, sign in the token, return the DER signature (FIPS 186-5 6.4.1).

        The leftmost 256 bits of a longer digest are signed, taken here because tokens differ in doing it.
        """
        if not isinstance(signature_algorithm, ec.ECDSA) or signature_algorithm.deterministic_signing:
            raise UnsupportedAlgorithm("hardware keys sign with ECDSA, random nonces made by the token")
        digest, _ = digest_of(bytes(data), signature_algorithm.algorithm)
        raw = self.sign_digest_raw(digest[:32])
        return utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Return the x coordinate ECDH gives, 32 bytes (CKM_ECDH1_DERIVE, no KDF).

        Raises:
            ValueError: the other key is not on P-256.
            NotSupported: the key is not for key agreement, or the token cannot do it.
        """
        if not isinstance(algorithm, ec.ECDH):
            raise UnsupportedAlgorithm("the only key agreement is ECDH")
        if not isinstance(peer_public_key.curve, ec.SECP256R1):
            raise ValueError("the other public key is not on P-256")
        if KeyUsage.DERIVE not in self._info.usage:
            raise NotSupported("this key is not for key agreement")
        point = peer_public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return self._held.call("agreeing on a key", lambda key: _derive(key, point))

    def private_numbers(self) -> NoReturn:
        """Refuse: the private key stays in the token."""
        raise TypeError("a hardware key does not give its private number")

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        """Refuse: the private key stays in the token."""
        raise TypeError("a hardware key cannot be written out")

    def __copy__(self) -> "Pkcs11EcKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pkcs11EcKey":
        return self


def _derive(key: Any, point: bytes) -> bytes:  # noqa: ANN401  # a python-pkcs11 object
    shared = key.derive_key(
        KeyType.GENERIC_SECRET,
        256,
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template=_SHARED,
    )
    try:
        return bytes(shared[Attribute.VALUE]).rjust(32, b"\0")
    finally:
        shared.destroy()
