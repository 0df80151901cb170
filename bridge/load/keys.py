"""Keys of simulated phones: in memory, or in a token, whose keys go when the load is over."""

import contextlib
import os
from collections.abc import Iterator

from fidoloop.authenticator.key_kinds import KEY_KINDS
from fidoloop.authenticator.models import Model, StoreKind
from fidoloop.authenticator.signing import signer
from fidoloop.authenticator.user_keys import MadeKeys
from fidoloop.bridge.load.phone import ALGORITHM, KEY_FORMAT, SimulatedPhone
from fidoloop.hsm.errors import NotSupported
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.protocol.uaf.registry import AttestationType, UserVerification

KEY_LABEL = "fidoloop load"


class SimulatedKeys:
    """Makes phones, each with a key of its own."""

    def __init__(self, store: KeyStore | None, facet_id: str) -> None:
        """Take the token, None for keys in memory."""
        self._facet_id = facet_id
        self._store = store
        self._made: list[bytes] = []
        self._aaid = "" if store is None else token_model(store).aaid

    def phone(self) -> SimulatedPhone:
        """Return a phone with a new key. Raises KeyStoreError."""
        if self._store is None:
            return SimulatedPhone.in_software(facet_id=self._facet_id)
        key_id = os.urandom(32)
        key = MadeKeys(self._store).make(KeyAlgorithm.P256, key_id, KEY_LABEL)
        self._made.append(key_id)
        assert isinstance(key, EcHardwareKey)
        return SimulatedPhone(
            key.public_key(), signer(key, ALGORITHM), self._aaid, key_id, self._facet_id, verifies=False
        )

    def destroy(self) -> None:
        """Destroy the keys in the token: nobody would ever use them again. Raises KeyStoreError."""
        for key_id in self._made:
            assert self._store is not None
            MadeKeys(self._store).discard(key_id)
        self._made.clear()


def token_model(store: KeyStore) -> Model:
    """Return the model of simulated phones with their keys in this token: surrogate attestation, nobody is asked.

    Raises:
        NotSupported: the token makes no P-256 keys.
    """
    token = store.info()
    wanted = ALGORITHM, KEY_FORMAT, AttestationType.BASIC_SURROGATE
    kind = next(each for each in KEY_KINDS if (each.algorithm, each.key_format, each.attestation) == wanted)
    if not token.makes_keys or not kind.is_made_by(token):
        raise NotSupported("simulated phones need a token that makes P-256 keys")
    return Model(StoreKind.of(token), kind, UserVerification.NONE)


@contextlib.contextmanager
def simulated_keys(uri: str | None, *, pin: str | None, facet_id: str) -> Iterator[SimulatedKeys]:
    """Open the token, if there is one; its keys are destroyed at the end. Raises KeyStoreError."""
    if uri is None:
        yield SimulatedKeys(None, facet_id)
        return
    with open_key_store(uri, pin=pin) as store:
        keys = SimulatedKeys(store, facet_id)
        try:
            yield keys
        finally:
            keys.destroy()
