"""An RSA-2048 private key in a PKCS#11 token, with cryptography's interface."""

from typing import Any, Final, NoReturn

import pkcs11 as p11
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from pkcs11 import MGF, Mechanism

from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import KeyInfo, KeyUsage, RsaHardwareKey
from fidoloop.hsm.oaep import unpad_oaep
from fidoloop.hsm.pkcs11.hashing import digest_of
from fidoloop.hsm.pkcs11.objects import HeldObject

_TOKEN_HASHES: Final = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}
# DER of DigestInfo up to the digest (RFC 8017 9.2, note 1).
_DIGEST_INFO: Final = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_HASH_NOT_TAKEN: Final = (p11.MechanismInvalid, p11.MechanismParamInvalid, p11.ArgumentsBad)
# What tokens answer when the padding inside is wrong (SoftHSM: CKR_GENERAL_ERROR).
_BAD_CIPHERTEXT: Final = (
    p11.EncryptedDataInvalid,
    p11.EncryptedDataLenRange,
    p11.DataInvalid,
    p11.DataLenRange,
    p11.GeneralError,
    p11.FunctionFailed,
)


class Pkcs11RsaKey(RsaHardwareKey):
    """See `RsaHardwareKey`; made by the key store."""

    def __init__(self, held: HeldObject, info: KeyInfo) -> None:
        """Take the private key object and what was read of it."""
        assert isinstance(info.public_key, rsa.RSAPublicKey)
        self._held = held
        self._info = info
        self._public = info.public_key
        self._host_oaep: set[str] = set()
        """Hashes the token's OAEP was seen not to take."""

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
        """Hash on the host; pad and sign in the token (CKM_RSA_PKCS, CKM_RSA_PKCS_PSS).

        Raises:
            UnsupportedAlgorithm: another hash or padding than SHA-256/384/512 with PKCS1v15 or PSS.
            NotSupported: the key is not for signing, or the token has no PSS with these parameters.
        """
        if KeyUsage.SIGN not in self._info.usage:
            raise NotSupported("this key is not for signing")
        digest, name = digest_of(bytes(data), algorithm)
        content, how = _signature_arguments(digest, name, padding, self._public)
        signature: bytes = self._held.call("signing", lambda key: key.sign(content, **how))
        return signature

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> bytes:
        """Decrypt RSAES-OAEP: in the token where its OAEP takes the hash, else raw RSA there and unpadding here.

        Raises:
            ValueError: the ciphertext is wrong; one message for every reason.
            UnsupportedAlgorithm: another padding; PKCS1v15 is refused because it cannot be undone safely.
            NotSupported: the key is not for decryption.
        """
        if KeyUsage.DECRYPT not in self._info.usage:
            raise NotSupported("this key is not for decryption")
        hash_name, mgf_name, label = _oaep_parameters(padding)
        if len(ciphertext) != self.key_size // 8 or int.from_bytes(ciphertext, "big") >= self._modulus():
            raise ValueError("Decryption failed")
        if hash_name == mgf_name and not label and hash_name not in self._host_oaep:
            try:
                return self._held.call("decrypting", lambda key: _token_oaep(key, ciphertext, hash_name))
            except _HashNotTaken:
                self._host_oaep.add(hash_name)
        block = self._held.call(
            "decrypting", lambda key: key.decrypt(ciphertext, mechanism=Mechanism.RSA_X_509, buffer_size=1024)
        )
        block = block.rjust(self.key_size // 8, b"\0")
        return unpad_oaep(block, hash_name=hash_name, mgf_hash_name=mgf_name, label=label)

    def private_numbers(self) -> NoReturn:
        """Refuse: the private key stays in the token."""
        raise TypeError("a hardware key does not give its private numbers")

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        """Refuse: the private key stays in the token."""
        raise TypeError("a hardware key cannot be written out")

    def __copy__(self) -> "Pkcs11RsaKey":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pkcs11RsaKey":
        return self

    def _modulus(self) -> int:
        return self._public.public_numbers().n


class _HashNotTaken(Exception):
    """The token's OAEP does not take this hash."""


def _token_oaep(key: Any, ciphertext: bytes, hash_name: str) -> bytes:  # noqa: ANN401  # a python-pkcs11 object
    mechanism, mgf = _TOKEN_HASHES[hash_name]
    try:
        message: bytes = key.decrypt(
            ciphertext, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=(mechanism, mgf, None), buffer_size=1024
        )
    except _HASH_NOT_TAKEN:
        raise _HashNotTaken from None
    except _BAD_CIPHERTEXT:
        raise ValueError("Decryption failed") from None
    return message


def _signature_arguments(
    digest: bytes, name: str, scheme: AsymmetricPadding, public: rsa.RSAPublicKey
) -> tuple[bytes, dict[str, Any]]:
    if isinstance(scheme, padding.PKCS1v15):
        return _DIGEST_INFO[name] + digest, {"mechanism": Mechanism.RSA_PKCS}
    if not isinstance(scheme, padding.PSS):
        raise UnsupportedAlgorithm("RSA hardware keys sign with PKCS1v15 or PSS")
    mgf_hash = _mgf_hash(scheme.mgf)
    salt = scheme._salt_length  # cryptography gives no public way to read it
    if salt is padding.PSS.DIGEST_LENGTH:
        salt = len(digest)
    elif salt is padding.PSS.MAX_LENGTH:
        salt = public.key_size // 8 - len(digest) - 2
    if not isinstance(salt, int):
        raise ValueError("PSS.AUTO is for verification only")
    parameters = (_TOKEN_HASHES[name][0], _TOKEN_HASHES[mgf_hash][1], salt)
    return digest, {"mechanism": Mechanism.RSA_PKCS_PSS, "mechanism_param": parameters}


def _oaep_parameters(scheme: AsymmetricPadding) -> tuple[str, str, bytes]:
    if not isinstance(scheme, padding.OAEP):
        raise UnsupportedAlgorithm("RSA hardware keys decrypt OAEP only")
    name = scheme.algorithm.name
    if name not in _TOKEN_HASHES:
        raise UnsupportedAlgorithm(f"OAEP with {name} is not supported")
    return name, _mgf_hash(scheme.mgf), scheme._label or b""  # cryptography gives no public way to read the label


def _mgf_hash(mgf: object) -> str:
    algorithm = getattr(mgf, "_algorithm", None) if isinstance(mgf, padding.MGF1) else None
    name = getattr(algorithm, "name", None)
    if name not in _TOKEN_HASHES:
        raise UnsupportedAlgorithm("MGF1 with SHA-1, SHA-256, SHA-384 or SHA-512 is supported")
    return str(name)
