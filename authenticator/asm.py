"""The authenticator-specific module: one interface over the phone's authenticators.

UAF ASM API 1.1; digest section 8.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence

from msgspec import UnsetType

from fidoloop.authenticator.adopted import AdoptedKeys
from fidoloop.authenticator.attestation import load_attestation
from fidoloop.authenticator.card_authenticator import CardAuthenticator
from fidoloop.authenticator.card_model import CardModel
from fidoloop.authenticator.displays import fitting_content
from fidoloop.authenticator.errors import (
    REFUSALS,
    AsmError,
    AuthenticatorError,
    CommandStatus,
    Refusal,
    asm_status_of_command,
    asm_status_of_key_store,
)
from fidoloop.authenticator.models import AUTHENTICATOR_VERSION, Form, Model, StoreKind, adopted_models, models_of
from fidoloop.authenticator.state import AuthenticatorState, Registration
from fidoloop.authenticator.uaf_authenticator import UafAuthenticator
from fidoloop.authenticator.user_keys import MadeKeys
from fidoloop.authenticator.user_verification import UserVerifier
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.final_challenge import final_challenge_hash
from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics, Transaction
from fidoloop.protocol.uaf.policy import AuthenticatorFacts
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, AttestationType
from fidoloop.protocol.uaf.status import AsmStatus


class Asm:
    """The phone's authenticators: every model that its token and its user verification make.

    `caller_id` is the platform's id of the calling client; it goes into every key-handle access token, so that
    one client's keys are closed to another. Each method raises AsmError with the status the client is told.
    """

    def __init__(
        self,
        store: KeyStore,
        state: AuthenticatorState,
        verifier: UserVerifier,
        *,
        caller_id: str,
        form: Form = Form.FIRST_FACTOR,
        cards: Sequence[CardAuthenticator] = (),
    ) -> None:
        """Open the token's models of this form, beside those of `cards`, which come first. Raises KeyStoreError."""
        attestation = load_attestation(store)
        self._state = state
        made, self.adopted = MadeKeys(store), AdoptedKeys(state, store)
        models = models_of(store.info(), verifier.method, form)
        if self.adopted.all() and form is Form.FIRST_FACTOR:
            models += adopted_models(verifier.method)
        self._caller_id = caller_id
        self._access_tokens: dict[str, bytes] = {}
        self.authenticators: dict[str, UafAuthenticator | CardAuthenticator] = {card.model.aaid: card for card in cards}
        self.authenticators |= {
            model.aaid: UafAuthenticator(
                model, self.adopted if model.store is StoreKind.ADOPTED else made, state, verifier, attestation
            )
            for model in models
            if attestation is not None or model.key_kind.attestation is not AttestationType.BASIC_FULL
        }

    def get_info(self, app_id: str) -> list[AuthenticatorFacts]:
        """Return what each authenticator is, in order of preference, with the KeyIDs it holds for `app_id`.

        A key somebody had the phone adopt is there to be used: its models come first while one is free, else last.
        """
        adopted = [one for one in self.authenticators.values() if one.model.store is StoreKind.ADOPTED]
        made = [one for one in self.authenticators.values() if one.model.store is not StoreKind.ADOPTED]
        try:
            room = bool(adopted) and self.adopted.room()
        except REFUSALS as error:
            raise _refused(error) from error
        token = self._access_token(app_id)
        held: dict[str, list[bytes]] = {}
        for entry in self.registrations():
            if entry.app_id == app_id and hmac.compare_digest(entry.access_token, token):
                held.setdefault(entry.aaid, []).append(entry.key_id)
        ordered = adopted + made if room else made + adopted
        return [_facts(one.model, held.get(one.model.aaid, [])) for one in ordered]

    def is_roaming(self, aaid: str) -> bool:
        """Tell whether the authenticator keeps its keys itself, so that which they are is not known here."""
        return isinstance(self._authenticator(aaid), CardAuthenticator)

    def holds(self, aaid: str, app_id: str) -> bool:
        """Tell whether a roaming authenticator has a key of the application."""
        authenticator = self._authenticator(aaid)
        try:
            return isinstance(authenticator, CardAuthenticator) and authenticator.holds(app_id)
        except REFUSALS as error:
            raise _refused(error) from error

    def images(self, aaid: str) -> tuple[DisplayPngCharacteristics, ...] | UnsetType:
        """Return which images the authenticator's display takes, where it takes any."""
        return self._authenticator(aaid).model.images

    def wants_handles(self, aaid: str) -> bool:
        """Tell whether the authenticator is a second factor, to which the server names the key."""
        return self._authenticator(aaid).model.is_second_factor

    def register(
        self, aaid: str, *, app_id: str, username: str, final_challenge: str, attestation_type: int
    ) -> tuple[bytes, bytes]:
        """Register a new key; return (KeyID, assertion)."""
        try:
            authenticator = self._authenticator(aaid)
            registered = authenticator.register(
                app_id=app_id,
                username=username,
                final_challenge_hash=final_challenge_hash(final_challenge, authenticator.algorithm),
                access_token=self._access_token(app_id),
                attestation_type=attestation_type,
            )
        except REFUSALS as error:
            raise _refused(error) from error
        return registered.key_id, registered.assertion

    def authenticate(
        self,
        aaid: str,
        *,
        app_id: str,
        final_challenge: str,
        key_ids: Sequence[bytes] | None = None,
        transactions: Sequence[Transaction] = (),
    ) -> bytes:
        """Sign with one of the keys of `app_id` (of `key_ids` where given); return the assertion."""
        try:
            authenticator = self._authenticator(aaid)
            return authenticator.sign(
                app_id=app_id,
                final_challenge_hash=final_challenge_hash(final_challenge, authenticator.algorithm),
                access_token=self._access_tokens.get(app_id) or self._access_token(app_id),
                key_ids=key_ids,
                transaction=fitting_content(authenticator.model, transactions) if transactions else None,
            )
        except REFUSALS as error:
            raise _refused(error, signing=True) from error

    def deregister(self, aaid: str, *, app_id: str, key_id: bytes | None) -> list[bytes]:
        """Delete one key, or all of `app_id`; return the KeyIDs deleted."""
        try:
            return self._authenticator(aaid).deregister(
                app_id=app_id, key_id=key_id, access_token=self._access_token(app_id)
            )
        except REFUSALS as error:
            raise _refused(error) from error

    def get_registrations(self, aaid: str, app_id: str) -> list[bytes]:
        """Return the KeyIDs of `app_id` that this caller may use, oldest first."""
        token = self._access_token(app_id)
        return [
            entry.key_id
            for entry in self.registrations()
            if entry.aaid == aaid and entry.app_id == app_id and hmac.compare_digest(entry.access_token, token)
        ]

    def applications(self, aaid: str) -> dict[str, list[bytes]]:
        """Return the AppIDs of which this caller has keys, and their KeyIDs, oldest first."""
        found: dict[str, list[bytes]] = {}
        for entry in self.registrations():
            if entry.aaid == aaid and hmac.compare_digest(entry.access_token, self._access_token(entry.app_id)):
                found.setdefault(entry.app_id, []).append(entry.key_id)
        return found

    def registrations(self) -> list[Registration]:
        """Return every registration in the phone's state, oldest first."""
        try:
            return self._state.registrations()
        except REFUSALS as error:
            raise _refused(error) from error

    def _authenticator(self, aaid: str) -> UafAuthenticator | CardAuthenticator:
        authenticator = self.authenticators.get(aaid)
        if authenticator is None:
            raise AsmError(AsmStatus.AUTHENTICATOR_DISCONNECTED, f"no authenticator {aaid} here")
        return authenticator

    def _access_token(self, app_id: str) -> bytes:
        """Return the key-handle access token: H(AppID | ASMToken | PersonaID | CallerID) (ASM API 3.8)."""
        parts = (app_id.encode(), self._state.asm_token, str(os.getuid()).encode(), self._caller_id.encode())
        # Lengths are hashed too, so that no two different lists of parts have the same hash.
        token = hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()
        self._access_tokens[app_id] = token
        return token


def _refused(error: Refusal, *, signing: bool = False) -> AsmError:
    if isinstance(error, AuthenticatorError):
        if signing and error.status is CommandStatus.KEY_DISAPPEARED_PERMANENTLY:
            # Not vanished but never here: an ASM that has no handle does not even ask the authenticator (3.6).
            return AsmError(AsmStatus.ACCESS_DENIED, error.detail)
        return AsmError(asm_status_of_command(error.status, signing=signing), error.detail)
    if isinstance(error, KeyStoreError):
        return AsmError(asm_status_of_key_store(error), str(error))
    return AsmError(AsmStatus.ACCESS_DENIED, str(error))


def _facts(model: Model | CardModel, key_ids: list[bytes]) -> AuthenticatorFacts:
    return AuthenticatorFacts(
        aaid=model.aaid,
        key_ids=frozenset(base64url.encode(key_id) for key_id in key_ids),
        user_verification=int(model.verification),
        key_protection=int(model.key_protection),
        matcher_protection=int(model.matcher_protection),
        attachment_hint=int(model.attachment_hint),
        tc_display=model.tc_display,
        algorithms=frozenset((model.algorithm,)),
        assertion_schemes=frozenset((ASSERTION_SCHEME,)),
        attestation_types=frozenset((model.attestation,)),
        version=AUTHENTICATOR_VERSION,
    )
