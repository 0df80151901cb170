"""What the commands of one authenticator share: the parts, what lasts until the power goes, and its credentials."""

import datetime
import hashlib
import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.attestation import load_full_attestation
from fidoloop.authenticator.ctap2.auth_token import PinUvAuthToken
from fidoloop.authenticator.ctap2.credentials import (
    KEY_ID_BYTES,
    Credential,
    Protection,
    make_credential_id,
    read_credential_id,
)
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.interaction import Interaction
from fidoloop.authenticator.ctap2.limits import MAX_RESIDENT
from fidoloop.authenticator.ctap2.models import aaguid
from fidoloop.authenticator.ctap2.pin_protocols import pin_protocols
from fidoloop.authenticator.ctap2.signing import SignatureAlgorithm, supported
from fidoloop.authenticator.ctap2.state import Ctap2State, ResidentCredential
from fidoloop.authenticator.user_verification import UserVerifier
from fidoloop.hsm.errors import KeyGone
from fidoloop.hsm.keystore import HardwareKey, KeyStore, KeyUsage

KEY_IDS: Final = b"ctap2:"
"""How the CKA_ID of every credential's key begins."""
NEXT_SECONDS: Final = 30.0
"""Within which the next part of an answer has to be asked for."""
_REMEMBERED: Final = 256


class PendingAssertions(msgspec.Struct):
    """What getNextAssertion goes on with (CTAP 2.1, section 6.3)."""

    credentials: list[Credential]
    position: int
    rp_id_hash: bytes
    client_data_hash: bytes
    flags: int
    extensions: object
    asked_at: float


class LargeBlobWriting(msgspec.Struct):
    """A write of several commands: what was written so far and how long it will be (section 6.10.2)."""

    expected_length: int = 0
    written: bytes = b""


class Core:
    """The parts of one authenticator. Not for more than one thread at a time."""

    def __init__(
        self,
        store: KeyStore,
        state: Ctap2State,
        verifier: UserVerifier,
        *,
        transports: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the authenticator; see `Authenticator`."""
        token = store.info()
        self.store: Final = store
        self.state: Final = state
        self.interaction: Final = Interaction(verifier)
        self.clock: Final = clock
        self.transports: Final = transports
        self.algorithms: Final[dict[int, SignatureAlgorithm]] = supported(token)
        verifies = self.interaction.verifies
        now = datetime.datetime.now(datetime.UTC)
        full = aaguid(token, full_attestation=True, built_in_verification=verifies)
        self.attestation: Final = load_full_attestation(store, full, now=now)
        self.aaguid: Final = (
            full
            if self.attestation is not None
            else aaguid(token, full_attestation=False, built_in_verification=verifies)
        )
        self._known: dict[tuple[bytes, bytes, bytes], Credential] = {}
        self.power_cycle()

    def power_cycle(self) -> None:
        """Forget what the power keeps: tokens, key-agreement keys, wrong PINs in a row, unfinished enumerations."""
        self.powered_at = self.clock()
        self.forget_session()

    def forget_session(self) -> None:
        """Forget what is kept in memory only."""
        self.protocols = pin_protocols()
        self.token = PinUvAuthToken(self.clock)
        self.wrong_pins_in_a_row = 0
        self.large_blob_writing = LargeBlobWriting()
        self.forget_enumerations()

    def forget_enumerations(self, *, assertions: bool = True, credentials: bool = True) -> None:
        """Forget what stateful commands go on with, as any other command makes it be (section 6)."""
        if assertions:
            self.pending_assertions: PendingAssertions | None = None
        if credentials:
            self.pending_rps: list[ResidentCredential] = []
            self.pending_credentials: list[ResidentCredential] = []
            self.enumerated_at = self.clock()

    @property
    def pin_set(self) -> bool:
        """Whether there is a PIN."""
        return self.state.settings.pin is not None

    @property
    def protected(self) -> bool:
        """Whether users can be verified in any way."""
        return self.pin_set or self.interaction.verifies

    def credential(self, rp_id_hash: bytes, credential_id: bytes) -> Credential | None:
        """Return the credential with this id where it is this relying party's and was not deleted."""
        name = (self.state.settings.epoch, rp_id_hash, credential_id)
        found = self._known.get(name)
        if found is None:
            found = read_credential_id(self.state, rp_id_hash, credential_id)
            if found is None or not self._has_key(found):
                return None
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = found
        if found.resident and credential_id not in self.state.residents():
            return None
        return found

    def residents_of(self, rp_id_hash: bytes) -> list[ResidentCredential]:
        """Return the relying party's discoverable credentials, the newest first."""
        found = [one for one in self.state.residents().values() if one.rp_id_hash == rp_id_hash]
        return found[::-1]

    def room(self) -> int:
        """Return how many more discoverable credentials may be made."""
        return max(0, MAX_RESIDENT - len(self.state.residents()))

    def key(self, credential: Credential) -> HardwareKey:
        """Open the credential's key in the token. Raises KeyGone."""
        return self.store.key(KEY_IDS + credential.key_id)

    def make_key(
        self,
        rp_id_hash: bytes,
        algorithm: int,
        *,
        protection: Protection = Protection.OPTIONAL,
        hmac_secret: bool = False,
        resident: bool = False,
        cred_blob: bytes = b"",
    ) -> tuple[Credential, HardwareKey]:
        """Make a key pair in the token and the credential's id. Raises KeyStoreError."""
        key_id = os.urandom(KEY_ID_BYTES)
        key = self.store.generate(
            self.algorithms[algorithm].key, KeyUsage.SIGN, key_id=KEY_IDS + key_id, label="fidoloop FIDO2 credential"
        )
        credential = make_credential_id(
            self.state,
            rp_id_hash,
            key_id=key_id,
            algorithm=algorithm,
            protection=protection,
            hmac_secret=hmac_secret,
            resident=resident,
            cred_blob=cred_blob,
        )
        return credential, key

    def destroy_key(self, key_id: bytes) -> None:
        """Destroy a credential's key; no error where there is none."""
        try:
            self.store.delete(KEY_IDS + key_id)
        except KeyGone:
            return

    def destroy_all_keys(self) -> None:
        """Destroy the key of every credential there is or was."""
        for info in self.store.list():
            if info.key_id.startswith(KEY_IDS):
                self.destroy_key(info.key_id[len(KEY_IDS) :])
        self._known.clear()

    def _has_key(self, credential: Credential) -> bool:
        try:
            self.key(credential)
        except KeyGone:
            return False
        return True


@lru_cache(maxsize=256)
def rp_id_hash_of(rp_id: str) -> bytes:
    """Return SHA-256 of an RP ID."""
    return hashlib.sha256(rp_id.encode()).digest()


def within(core: Core, seconds: float, since: float) -> None:
    """Raise NOT_ALLOWED where more than `seconds` went by since then."""
    if core.clock() - since > seconds:
        raise CtapError(ERR.NOT_ALLOWED)
