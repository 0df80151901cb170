"""The few TPM commands of an attestation (TPM 2.0 Library, Part 3), with passwords for authorisation.

A password goes to the TPM as it is; tpm2-pkcs11's keys have random ones that are worth nothing outside this TPM.
"""

from typing import Final

from fidoloop.hsm.errors import KeyStoreError, ModuleError, NotSupported, PinIncorrect, PinLocked
from fidoloop.hsm.tpm.transport import TpmConnection
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.tpm_structures import Reader

ENDORSEMENT: Final = 0x4000000B
_NO_SESSIONS, _SESSIONS = b"\x80\x01", b"\x80\x02"
_PASSWORD_SESSION: Final = 0x40000009
_CREATE_PRIMARY, _CERTIFY, _LOAD, _UNSEAL, _FLUSH = 0x131, 0x148, 0x157, 0x15E, 0x165
_AUTH_FAIL, _BAD_AUTH, _LOCKOUT = 0x08E, 0x0A2, 0x921
_NULL: Final = b"\x00\x10"
# TPMT_PUBLIC (Part 2, 12.2.4): a restricted P-256 signing key that stays in its TPM, without dictionary attack
# protection as its password is empty; ECDSA with SHA-256. The name makes it this program's own.
_AK_NAME: Final = b"fidoloop attestation key 1"
_AK_TEMPLATE: Final = (b"\x00\x23\x00\x0b\x00\x05\x04\x72\x00\x00" + _NULL + b"\x00\x18\x00\x0b\x00\x03" + _NULL) + (
    len(_AK_NAME).to_bytes(2) + _AK_NAME + b"\x00\x00"
)


def create_attestation_key(tpm: TpmConnection) -> tuple[int, bytes]:
    """Make the attestation key, the same each time in the same TPM, and return its handle and TPMT_PUBLIC.

    It is derived from the endorsement seed and nothing is stored: it lives until it is flushed.

    Raises:
        NotSupported: the endorsement hierarchy wants a password.
        KeyStoreError: the TPM refused.
    """
    no_sensitive, no_pcrs = tpm2b(b"\x00\x00\x00\x00"), b"\x00\x00\x00\x00"
    parameters = no_sensitive + tpm2b(_AK_TEMPLATE) + tpm2b(b"") + no_pcrs
    refused = NotSupported("the TPM's endorsement hierarchy has a password: no attestation key can be made")
    response = _run(tpm, _CREATE_PRIMARY, {ENDORSEMENT: b""}, parameters, refused=refused)
    handle = response.number(4)
    response.number(4)  # parameterSize
    return handle, response.buffer()


def load(tpm: TpmConnection, parent: int, parent_auth: bytes, private: bytes, public: bytes) -> int:
    """Load a key or sealed object (TPM2B_PRIVATE, TPM2B_PUBLIC) under its parent and return its handle."""
    refused = ModuleError("the TPM refused the password of the token's parent key")
    return _run(tpm, _LOAD, {parent: parent_auth}, private + public, refused=refused).number(4)


def unseal(tpm: TpmConnection, handle: int, auth: bytes) -> bytes:
    """Return what an object sealed with the PIN holds. Raises PinIncorrect, PinLocked."""
    response = _run(tpm, _UNSEAL, {handle: auth}, b"", refused=PinIncorrect())
    response.number(4)
    return response.buffer()


def certify(tpm: TpmConnection, key: int, key_auth: bytes, ak: int, qualifying_data: bytes) -> tuple[bytes, bytes]:
    """Return TPMS_ATTEST of the key, signed by the attestation key, and the TPMT_SIGNATURE."""
    refused = ModuleError("the TPM refused the key's password, as tpm2-pkcs11's file has it")
    response = _run(tpm, _CERTIFY, {key: key_auth, ak: b""}, tpm2b(qualifying_data) + _NULL, refused=refused)
    parameters = Reader(response.take(response.number(4)), "TPM2_Certify")
    attest = parameters.buffer()
    return attest, parameters.rest()


def flush(tpm: TpmConnection, handle: int) -> None:
    """Unload a key."""
    _run(tpm, _FLUSH, {}, handle.to_bytes(4))


def tpm2b(data: bytes) -> bytes:
    """Return `data` after its length in two bytes."""
    return len(data).to_bytes(2) + data


def _run(
    tpm: TpmConnection,
    code: int,
    handles: dict[int, bytes],
    parameters: bytes,
    *,
    refused: KeyStoreError | None = None,
) -> Reader:
    """Run a command and return what stands after the response code (Part 1, 18).

    `handles` come with the passwords that authorise their use; `refused` is raised where one is wrong.
    """
    sessions = b"".join(
        _PASSWORD_SESSION.to_bytes(4) + b"\x00\x00" + b"\x00" + tpm2b(password) for password in handles.values()
    )
    body = b"".join(handle.to_bytes(4) for handle in handles)
    if handles:
        body += len(sessions).to_bytes(4) + sessions
    body += parameters
    tag = _SESSIONS if handles else _NO_SESSIONS
    reader = Reader(tpm.run(tag + (10 + len(body)).to_bytes(4) + code.to_bytes(4) + body), "the TPM's response")
    try:
        reader.take(6)
        result = reader.number(4)
    except MalformedError as error:
        raise ModuleError(str(error)) from None
    if result:
        raise _error(code, result, refused)
    return reader


def _error(command: int, result: int, refused: KeyStoreError | None) -> KeyStoreError:
    # Part 2, 6.6: bit 7 marks a code that names a parameter, handle or session in other bits.
    code = result & 0xBF if result & 0x80 else result
    if code == _LOCKOUT:
        return PinLocked("the TPM locked itself after too many wrong tries")
    if code in (_AUTH_FAIL, _BAD_AUTH) and refused is not None:
        return refused
    return ModuleError(f"the TPM failed with 0x{result:03x} (command 0x{command:03x})")
