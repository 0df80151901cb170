"""An RSA-2048 private key in a PKCS#11 token."""

from typing import Any, Final

import pkcs11 as p11
from pkcs11 import MGF, Mechanism

from fidoloop.hsm.hardware_keys import BaseRsaKey
from fidoloop.hsm.keystore import KeyInfo
from fidoloop.hsm.oaep import unpad_oaep
from fidoloop.hsm.pkcs11.objects import HeldObject
from fidoloop.hsm.rsa_padding import OaepParameters, SignatureScheme, digest_info

_TOKEN_HASHES: Final = {
    "sha1": (Mechanism.SHA_1, MGF.SHA1),
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
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


class Pkcs11RsaKey(BaseRsaKey):
    """See `RsaHardwareKey`; made by the key store. OAEP is the token's where it takes the hash, else raw RSA there."""

    def __init__(self, held: HeldObject, info: KeyInfo) -> None:
        """Take the private key object and what was read of it."""
        super().__init__(info)
        self._held = held
        # The TPM of libtpms 0.9 fails for good over an OAEP block that is wrong; raw RSA has nothing to be wrong.
        self._host_oaep = set(_TOKEN_HASHES) if held.in_tpm else set()
        """Hashes the token's OAEP was seen not to take."""

    def _sign_digest(self, digest: bytes, scheme: SignatureScheme) -> bytes:
        content, how = _signature_arguments(digest, scheme)
        signature: bytes = self._held.call("signing", lambda key: key.sign(content, **how))
        return signature

    def _decrypt_oaep(self, ciphertext: bytes, parameters: OaepParameters) -> bytes:
        name, mgf_name, label = parameters.hash_name, parameters.mgf_hash, parameters.label
        if name == mgf_name and not label and name not in self._host_oaep:
            try:
                return self._held.call("decrypting", lambda key: _token_oaep(key, ciphertext, name))
            except _HashNotTaken:
                self._host_oaep.add(name)
        block = self._held.call(
            "decrypting", lambda key: key.decrypt(ciphertext, mechanism=Mechanism.RSA_X_509, buffer_size=1024)
        )
        block = block.rjust(self.key_size // 8, b"\0")
        return unpad_oaep(block, hash_name=name, mgf_hash_name=mgf_name, label=label)


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


def _signature_arguments(digest: bytes, scheme: SignatureScheme) -> tuple[bytes, dict[str, Any]]:
    if scheme.mgf_hash is None:
        return digest_info(digest, scheme.hash_name), {"mechanism": Mechanism.RSA_PKCS}
    parameters = (_TOKEN_HASHES[scheme.hash_name][0], _TOKEN_HASHES[scheme.mgf_hash][1], scheme.salt_length)
    return digest, {"mechanism": Mechanism.RSA_PKCS_PSS, "mechanism_param": parameters}
