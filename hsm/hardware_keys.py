"""cryptography's interface of a hardware key, as far as it is the same on every kind of device."""

import abc
from typing import Any, NoReturn, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.utils import Buffer

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.hashing import digest_of
from fidoloop.hsm.keystore import EcHardwareKey, KeyInfo, KeyUsage, RsaHardwareKey
from fidoloop.hsm.rsa_padding import OaepParameters, SignatureScheme, oaep_parameters, signature_scheme


class BaseEcKey(EcHardwareKey):
    """An EC key: hashing, checks and encodings; a device adds `sign_digest_raw` and `_agree`."""

    def __init__(self, info: KeyInfo) -> None:
        """Take what was read of the key."""
        assert isinstance(info.public_key, ec.EllipticCurvePublicKey)
        self._info = info
        self._public = info.public_key
        self._size = (info.public_key.key_size + 7) // 8
        """Bytes of a coordinate."""
        self._digest_size = info.public_key.key_size // 8
        """Bytes of a digest to sign. Rounded down: of 66 bytes a device would take the leftmost 521 bits on P-521."""
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
        """P-256, P-384, P-521 or secp256k1."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """256, 384 or 521."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        return self._public

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Hash on the host, sign in the device, return the DER signature (FIPS 186-5 6.4.1).

        The leftmost bits of a longer digest are signed, and a shorter one is the same number with zeros before it;
        both are done here because devices differ in doing it.
        """
        if not isinstance(signature_algorithm, ec.ECDSA) or signature_algorithm.deterministic_signing:
            raise UnsupportedAlgorithm("hardware keys sign with ECDSA, random nonces made by the device")
        digest, _ = digest_of(bytes(data), signature_algorithm.algorithm)
        size, digest_size = self._size, self._digest_size
        raw = self.sign_digest_raw(digest[:digest_size].rjust(digest_size, b"\0"))
        return utils.encode_dss_signature(int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Return the x coordinate ECDH gives, as long as the curve's, without a KDF.

        Raises:
            ValueError: the other key is on another curve.
            NotSupported: the key is not for key agreement, or the device cannot do it.
        """
        if not isinstance(algorithm, ec.ECDH):
            raise UnsupportedAlgorithm("the only key agreement is ECDH")
        if peer_public_key.curve.name != self.curve.name:
            raise ValueError(f"the other public key is not on {self.curve.name}")
        if KeyUsage.DERIVE not in self._info.usage:
            raise NotSupported("this key is not for key agreement")
        return self._agree(
            peer_public_key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        )

    def _check_digest(self, digest: bytes) -> None:
        """Raise ValueError for a digest of the wrong length, NotSupported where the key is not for signing."""
        if len(digest) != self._digest_size:
            raise ValueError(f"the digest has {self._digest_size} bytes, not {len(digest)}")
        if not self._may_sign:
            raise NotSupported("this key is not for signing")

    @abc.abstractmethod
    def _agree(self, point: bytes) -> bytes:
        """Return the x coordinate of the shared point; `point` is 04 || x || y on this key's curve."""

    def private_numbers(self) -> NoReturn:
        """Refuse: the private key stays in the device."""
        raise TypeError("a hardware key does not give its private number")

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        """Refuse: the private key stays in the device."""
        raise TypeError("a hardware key cannot be written out")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class BaseRsaKey(RsaHardwareKey):
    """An RSA-2048 key: hashing and checks; a device adds `_sign_digest` and `_decrypt_oaep`."""

    def __init__(self, info: KeyInfo) -> None:
        """Take what was read of the key."""
        assert isinstance(info.public_key, rsa.RSAPublicKey)
        self._info = info
        self._public = info.public_key

    @property
    def key_id(self) -> bytes:
        """CKA_ID of the key."""
        return self._info.key_id

    @property
    def info(self) -> KeyInfo:
        """Attributes of the key, read when it was first opened."""
        return self._info

    @property
    def key_size(self) -> int:
        """2048."""
        return self._public.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public key."""
        return self._public

    def sign(
        self,
        data: bytes,
        padding: AsymmetricPadding,
        algorithm: utils.Prehashed | hashes.HashAlgorithm | utils.NoDigestInfo,
    ) -> bytes:
        """Hash on the host, sign in the device (RSASSA-PKCS1-v1_5, RSASSA-PSS).

        Raises:
            UnsupportedAlgorithm: another hash or padding than SHA-256/384/512 with PKCS1v15 or PSS.
            NotSupported: the key is not for signing, or the device cannot sign with these parameters.
        """
        if KeyUsage.SIGN not in self._info.usage:
            raise NotSupported("this key is not for signing")
        digest, name = digest_of(bytes(data), algorithm)
        return self._sign_digest(digest, signature_scheme(padding, name, len(digest), self.key_size))

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> bytes:
        """Decrypt RSAES-OAEP.

        Raises:
            ValueError: the ciphertext is wrong; one message for every reason.
            UnsupportedAlgorithm: another padding; PKCS1v15 is refused because it cannot be undone safely.
            NotSupported: the key is not for decryption.
        """
        if KeyUsage.DECRYPT not in self._info.usage:
            raise NotSupported("this key is not for decryption")
        parameters = oaep_parameters(padding)
        modulus = self._public.public_numbers().n
        if len(ciphertext) != self.key_size // 8 or int.from_bytes(ciphertext, "big") >= modulus:
            raise ValueError("Decryption failed")
        return self._decrypt_oaep(bytes(ciphertext), parameters)

    @abc.abstractmethod
    def _sign_digest(self, digest: bytes, scheme: SignatureScheme) -> bytes:
        """Return the signature, as long as the modulus."""

    @abc.abstractmethod
    def _decrypt_oaep(self, ciphertext: bytes, parameters: OaepParameters) -> bytes:
        """Return the message in `ciphertext`, which is as long as the modulus and smaller. Raises ValueError."""

    def private_numbers(self) -> NoReturn:
        """Refuse: the private key stays in the device."""
        raise TypeError("a hardware key does not give its private numbers")

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        """Refuse: the private key stays in the device."""
        raise TypeError("a hardware key cannot be written out")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
