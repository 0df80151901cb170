"""TPM2_Certify of a key of a tpm2-pkcs11 token, with the verifier's nonce in it."""

import os
from contextlib import ExitStack

from fidoloop.hsm.errors import ModuleError
from fidoloop.hsm.keystore import KeyInfo
from fidoloop.hsm.tpm import commands
from fidoloop.hsm.tpm.token_store import StoredKey, stored_key
from fidoloop.hsm.tpm.transport import TpmConnection
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.keys import spki
from fidoloop.protocol.evidence.possession import check_nonce
from fidoloop.protocol.evidence.tpm import tpm_evidence
from fidoloop.protocol.evidence.tpm_structures import parse_public
from fidoloop.protocol.evidence.values import Evidence


def attest_by_tpm(token_label: str, info: KeyInfo, *, pin: str, nonce: bytes) -> Evidence:
    """Have the TPM attest a key of its token.

    The attestation key is a primary key of the endorsement hierarchy, made for this and unloaded again: nothing is
    stored in the TPM, and it is the same key each time, so that its public key can be pinned.

    Args:
        token_label: of the token, in tpm2-pkcs11's file.
        info: the key.
        pin: the user's, which opened the token.
        nonce: 8 to 32 bytes, which become the qualifying data.

    Raises:
        ValueError: the nonce is of another size.
        NotSupported: the token's file or the TPM is not such that the key can be reached.
        PinIncorrect, PinLocked: the TPM refused the PIN.
        KeyStoreError: the TPM failed.
    """
    check_nonce(nonce)
    stored = stored_key(token_label, info.key_id)
    public = stored.public[2:]
    try:
        if spki(parse_public(public).key) != spki(info.public_key):
            raise ModuleError("tpm2-pkcs11's file has another key under this id than the token shows")
        with TpmConnection(stored.transport or os.environ.get("TPM2_PKCS11_TCTI")) as tpm:
            return _attest(tpm, stored, public, pin, nonce)
    except MalformedError as error:
        raise ModuleError(f"what the TPM or tpm2-pkcs11's file says cannot be read: {error}") from None


def _attest(tpm: TpmConnection, stored: StoredKey, public: bytes, pin: str, nonce: bytes) -> Evidence:
    with ExitStack() as loaded:

        def load(private: bytes, area: bytes) -> int:
            handle = commands.load(tpm, stored.parent, stored.parent_auth, private, area)
            loaded.callback(commands.flush, tpm, handle)
            return handle

        sealed = load(stored.sealed_private, stored.sealed_public)
        auth = stored.key_auth(commands.unseal(tpm, sealed, stored.seal_auth(pin)))
        key = load(stored.private, stored.public)
        ak, ak_public = commands.create_attestation_key(tpm)
        loaded.callback(commands.flush, tpm, ak)
        attest, signature = commands.certify(tpm, key, auth, ak, nonce)
    return tpm_evidence(attest=attest, signature=signature, public=public, ak_public=ak_public)
