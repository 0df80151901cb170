"""The two hardware keys of a dispatch target: one signs its requests, one decrypts its tokens (HTTP contract 6)."""

import contextlib
import os

import msgspec

from fidoloop.hsm.errors import KeyGone
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, RsaHardwareKey
from fidoloop.protocol.jose import PublicJwk, public_jwk

KEY_ID_BYTES = 16
SIGNATURE, ENCRYPTION = "fidoloop target signature", "fidoloop target encryption"
_ECDH = "ECDH1_DERIVE"


class TargetKeys(msgspec.Struct, frozen=True):
    """The keys of one dispatch target, by their ids in the token, and their public JWKs."""

    signature_key_id: bytes
    encryption_key_id: bytes
    signature_jwk: PublicJwk
    encryption_jwk: PublicJwk


def new_target_key_ids() -> tuple[bytes, bytes]:
    """Return ids for the signature and the encryption key of a target that is about to be made."""
    return os.urandom(KEY_ID_BYTES), os.urandom(KEY_ID_BYTES)


def make_target_keys(store: KeyStore, key_ids: tuple[bytes, bytes] | None = None) -> TargetKeys:
    """Make both keys in the token: EC; the encryption key RSA-2048 where the token cannot derive (hardware digest).

    Raises:
        KeyStoreError: the token is full, or cannot make them; nothing is left behind.
    """
    signature_id, encryption_id = key_ids or new_target_key_ids()
    signature = _generate(store, KeyAlgorithm.P256, KeyUsage.SIGN, signature_id, SIGNATURE)
    try:
        if _ECDH in store.info().mechanisms:
            encryption = _generate(store, KeyAlgorithm.P256, KeyUsage.DERIVE, encryption_id, ENCRYPTION)
        else:
            encryption = _generate(store, KeyAlgorithm.RSA2048, KeyUsage.DECRYPT, encryption_id, ENCRYPTION)
    except BaseException:
        store.delete(signature.key_id)
        raise
    return TargetKeys(
        signature.key_id, encryption.key_id, public_jwk(signature.public_key()), public_jwk(encryption.public_key())
    )


def delete_target_keys(store: KeyStore, *key_ids: bytes | None) -> None:
    """Delete keys of a target; one that is gone already is as wished."""
    for key_id in key_ids:
        if key_id is not None:
            with contextlib.suppress(KeyGone):
                store.delete(key_id)


def _generate(
    store: KeyStore, algorithm: KeyAlgorithm, usage: KeyUsage, key_id: bytes, label: str
) -> EcHardwareKey | RsaHardwareKey:
    key = store.generate(algorithm, usage, key_id=key_id, label=label)
    assert isinstance(key, EcHardwareKey | RsaHardwareKey)
    return key
