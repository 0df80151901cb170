"""A P-256 or P-384 private key in a PKCS#11 token, with cryptography's interface."""

from typing import Any, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.utils import Buffer
from pkcs11 import KDF, Attribute, KeyType, Mechanism

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import EcHardwareKey, KeyInfo, KeyUsage
from fidoloop.hsm.pkcs11.hashing import digest_of
from fidoloop.hsm.pkcs11.objects import CURVES, HeldObject

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
        self._size = CURVES[info.algorithm].size
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
        """P-256 or P-384."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """256 or 384."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        return self._public

    def sign_digest_raw(self, digest: bytes) -> bytes:
        """Sign a digest as long as the curve's order (CKM_ECDSA) and return r || s, each of that length.

        Raises:
            ValueError: the digest has another length.
            NotSupported: the key is not for signing.
            KeyStoreError: the token said no.
        """
        if len(digest) != self._size:
            raise ValueError(f"the digest has {self._size} bytes, not {len(digest)}")
        if not self._may_sign:
            raise NotSupported("this key is not for signing")
        raw: bytes = self._held.call("signing", lambda key: key.sign(digest, mechanism=Mechanism.ECDSA))
        return raw

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Hash on the host, sign in the token, return the DER signature (FIPS 186-5 6.4.1).

        The leftmost bits of a longer digest are signed, and a shorter one is the same number with zeros before it;
        both are done here because tokens differ in doing it.
        """
        if not isinstance(signature_algorithm, ec.ECDSA) or signature_algorithm.deterministic_signing:
            raise UnsupportedAlgorithm("hardware keys sign with ECDSA, random nonces made by the token")
        digest, _ = digest_of(bytes(data), signature_algorithm.algorithm)
        size = self._size
        raw = self.sign_digest_raw(digest[:size].rjust(size, b"\0"))
        return utils.encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Return the x coordinate ECDH gives, as long as the curve's (CKM_ECDH1_DERIVE, no KDF).

        Raises:
            ValueError: the other key is on another curve.
            NotSupported: the key is not for key agreement, or the token cannot do it.
        """
        if not isinstance(algorithm, ec.ECDH):
            raise UnsupportedAlgorithm("the only key agreement is ECDH")
        if peer_public_key.curve.name != self.curve.name:
            raise ValueError(f"the other public key is not on {self.curve.name}")
        if KeyUsage.DERIVE not in self._info.usage:
            raise NotSupported("this key is not for key agreement")
        point = peer_public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return self._held.call("agreeing on a key", lambda key: _derive(key, point, self._size))

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
