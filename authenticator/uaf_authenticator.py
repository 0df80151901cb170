"""The UAF authenticator: Register, Sign and Deregister over keys in a key store.

UAF authenticator commands 1.1, 6.2; digest section 7.

A first-factor bound authenticator: one key pair per registration, its KeyID random; the key handle stays inside,
guarded by the key-handle access token.
"""

import hmac
import os
from collections.abc import Sequence

import msgspec

from fidoloop.authenticator.attestation import Attestation
from fidoloop.authenticator.displays import confirmation
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.authenticator.models import AUTHENTICATOR_VERSION, Model
from fidoloop.authenticator.nonces import NONCE_BYTES, fresh_nonce
from fidoloop.authenticator.signing import Sign, signer
from fidoloop.authenticator.state import AuthenticatorState, Registration
from fidoloop.authenticator.user_keys import UserKeys
from fidoloop.authenticator.user_verification import UserVerifier, VerificationRequest
from fidoloop.hsm.keystore import HardwareKey
from fidoloop.protocol.uaf import assertions
from fidoloop.protocol.uaf.algorithms import ALGORITHMS
from fidoloop.protocol.uaf.public_keys import encode_public_key
from fidoloop.protocol.uaf.registry import AttestationType, AuthenticationMode, UserVerification
from fidoloop.protocol.uaf.transactions import transaction_content_hash
from fidoloop.protocol.uaf.usual_layout import SignedDataTemplate

KEY_ID_BYTES = 32
MAX_APP_ID_BYTES = 512
MAX_USERNAME_BYTES = 128


class Registered(msgspec.Struct, frozen=True):
    """Result of Register."""

    key_id: bytes
    assertion: bytes


class _UserKey(msgspec.Struct, frozen=True):
    """A key in use, and what it signs where the user was verified and where a transaction was confirmed."""

    sign: Sign
    verified: SignedDataTemplate
    confirmed: SignedDataTemplate


class UafAuthenticator:
    """One model over one key store."""

    def __init__(
        self,
        model: Model,
        keys: UserKeys,
        state: AuthenticatorState,
        verifier: UserVerifier,
        attestation: Attestation | None,
    ) -> None:
        """Take the parts; `attestation` is needed by models with full attestation only."""
        self.model = model
        self._aaid = model.aaid
        self._source = keys
        self._state = state
        self._verifier = verifier
        self._attestation = attestation
        self.algorithm = int(model.key_kind.algorithm)
        """ALG_SIGN, as a plain number: an IntEnum's hash runs in Python."""
        self._hash_bytes = ALGORITHMS[self.algorithm].hash.digest_size
        self._user_keys: dict[bytes, _UserKey] = {}

    def register(
        self,
        *,
        app_id: str,
        username: str,
        final_challenge_hash: bytes,
        access_token: bytes,
        attestation_type: int,
        verified: UserVerification | None = None,
    ) -> Registered:
        """Verify the user, make a key pair in the token, attest and store it (commands 6.2.2).

        `verified` is what a user-verify token stands for; without one the user is verified here.

        Raises:
            AuthenticatorError: parameters, attestation type, or the user; KeyStoreError: the token.
        """
        if len(app_id.encode()) > MAX_APP_ID_BYTES or not 1 <= len(username.encode()) <= MAX_USERNAME_BYTES:
            raise AuthenticatorError(CommandStatus.PARAMS_INVALID, "appID or username too long")
        self.check_hash(final_challenge_hash)
        if attestation_type != self.model.key_kind.attestation:
            raise AuthenticatorError(CommandStatus.ATTESTATION_NOT_SUPPORTED, "not this model's attestation type")
        full = self.model.key_kind.attestation is AttestationType.BASIC_FULL
        if full and self._attestation is None:
            raise AuthenticatorError(CommandStatus.ATTESTATION_NOT_SUPPORTED, "the token has no attestation key")
        self.verify_user(VerificationRequest("registration", app_id, username), verified)
        key_id = os.urandom(KEY_ID_BYTES)
        registration_counter = self._state.next_registration_counter(self.model.aaid)
        key = self._source.make(self.model.key_kind.key, key_id, f"fidoloop UAF {self.model.aaid}")
        try:
            return self._finish_registration(
                key,
                key_id=key_id,
                app_id=app_id,
                username=username,
                final_challenge_hash=final_challenge_hash,
                access_token=access_token,
                registration_counter=registration_counter,
            )
        except BaseException:
            # No key without a row: it could never be used, and would fill the token.
            self._source.discard(key_id)
            raise

    def _finish_registration(
        self,
        key: HardwareKey,
        *,
        key_id: bytes,
        app_id: str,
        username: str,
        final_challenge_hash: bytes,
        access_token: bytes,
        registration_counter: int,
    ) -> Registered:
        kind = self.model.key_kind
        krd = assertions.encode_krd(
            aaid=self._aaid,
            authenticator_version=AUTHENTICATOR_VERSION,
            signature_algorithm=kind.attested_by,
            public_key_format=kind.key_format,
            final_challenge_hash=final_challenge_hash,
            key_id=key_id,
            sign_counter=0,
            registration_counter=registration_counter,
            public_key=encode_public_key(kind.key_format, key.public_key(), self.algorithm),
        )
        attesting: HardwareKey = key
        chain: tuple[bytes, ...] = ()
        if kind.attestation is AttestationType.BASIC_FULL and self._attestation is not None:
            attesting, chain = self._attestation.key, self._attestation.chain
        signature = signer(attesting, kind.attested_by)(krd)
        assertion = assertions.encode_registration_assertion(
            krd, attestation_type=kind.attestation, signature=signature, certificates=chain
        )
        self._state.add(
            Registration(
                key_id=key_id,
                aaid=self._aaid,
                app_id=app_id,
                username="" if self.model.is_second_factor else username,
                access_token=access_token,
                registered=0,
                sign_ceiling=0,
            )
        )
        return Registered(key_id, assertion)

    def sign(
        self,
        *,
        app_id: str,
        final_challenge_hash: bytes,
        access_token: bytes,
        key_ids: Sequence[bytes] | None,
        transaction: bytes | None = None,
    ) -> bytes:
        """Verify the user and sign; return the authentication assertion (commands 6.2.3).

        `key_ids` None means all keys of the application; of several accounts the user chooses one.
        `transaction` is decoded content, shown to the user, its hash signed.

        Raises:
            AuthenticatorError: no key, another caller's key, the user, or nothing to show a transaction on;
            TamperedStateError: the stored row is not ours; KeyStoreError: the token.
        """
        registration = self._choose(app_id, access_token, key_ids)
        if transaction is not None and self.model.takes_hash:
            return self._confirm_by_hash(registration, final_challenge_hash, transaction)
        return self.sign_with(registration, final_challenge_hash, transaction)

    def _confirm_by_hash(self, registration: Registration, final_challenge_hash: bytes, transaction: bytes) -> bytes:
        """Show the transaction, as the ASM does for an authenticator that takes a hash, and sign with the hash."""
        username = registration.username or None
        request = confirmation(self.model, transaction, app_id=registration.app_id, username=username)
        verified = self._verifier.verify(request)
        content_hash = transaction_content_hash(transaction, self.algorithm)
        return self.sign_with(registration, final_challenge_hash, None, verified, content_hash=content_hash)

    def sign_with(
        self,
        registration: Registration,
        final_challenge_hash: bytes,
        transaction: bytes | None,
        verified: UserVerification | None = None,
        *,
        content_hash: bytes = b"",
    ) -> bytes:
        """As `sign`, with a key that `candidates` returned; `verified` as in `register`.

        A transaction is shown in any case, so there a user-verify token does not help. `content_hash` stands for one
        that whoever calls has shown, which only models that take a hash believe.
        """
        confirmed = bool(content_hash)
        if confirmed:
            self._check_content_hash(content_hash)
        if transaction is None:
            operation = "transaction" if confirmed else "authentication"
            request = VerificationRequest(operation, registration.app_id, registration.username or None)
        else:
            if self.model.takes_hash:
                raise AuthenticatorError(CommandStatus.PARAMS_INVALID, "a transaction's hash, not its content")
            username = registration.username or None
            request = confirmation(self.model, transaction, app_id=registration.app_id, username=username)
            content_hash, confirmed, verified = transaction_content_hash(transaction, self.algorithm), True, None
        self.verify_user(request, verified)
        counter = self._state.next_sign_counter(registration.key_id)
        if counter is None:
            raise AuthenticatorError(CommandStatus.KEY_DISAPPEARED_PERMANENTLY, "the registration was removed")
        user_key = self._user_keys.get(registration.key_id) or self._open(registration.key_id)
        template = user_key.confirmed if confirmed else user_key.verified
        signed_data = template.fill(fresh_nonce(), final_challenge_hash, content_hash, counter)
        return assertions.encode_authentication_assertion(signed_data, user_key.sign(signed_data))

    def deregister(self, *, app_id: str | None, key_id: bytes | None, access_token: bytes) -> list[bytes]:
        """Delete a key, or with `key_id` None all of the application; return the KeyIDs deleted (commands 6.2.4).

        Whether a key existed is not revealed. Without `app_id` the access token alone says whose keys are meant.

        Raises:
            AuthenticatorError: ACCESS_DENIED for another caller's key; KeyStoreError: the token.
        """
        found = [
            entry
            for entry in self._state.registrations()
            if entry.aaid == self._aaid
            and (entry.app_id == app_id or app_id is None)
            and (key_id is None or hmac.compare_digest(entry.key_id, key_id))
        ]
        if app_id is None and key_id is None:
            found = [entry for entry in found if hmac.compare_digest(entry.access_token, access_token)]
        if not all(hmac.compare_digest(entry.access_token, access_token) for entry in found):
            raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "the key is another caller's")
        for entry in found:
            self._source.discard(entry.key_id)
            self._user_keys.pop(entry.key_id, None)
            self._state.remove(entry.key_id)
        return [entry.key_id for entry in found]

    def candidates(self, app_id: str, access_token: bytes, key_ids: Sequence[bytes] | None) -> list[Registration]:
        """Return the keys of the application (of `key_ids` where given) that the access token opens, oldest first.

        Raises:
            AuthenticatorError: KEY_DISAPPEARED_PERMANENTLY where there are none, ACCESS_DENIED where all are
                another caller's.
        """
        found = [entry for entry in self._state.registrations() if key_ids is None or entry.key_id in key_ids]
        found = [entry for entry in found if entry.aaid == self._aaid and entry.app_id == app_id]
        if not found:
            raise AuthenticatorError(CommandStatus.KEY_DISAPPEARED_PERMANENTLY, "no such key is registered here")
        found = [entry for entry in found if hmac.compare_digest(entry.access_token, access_token)]
        if not found:
            raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "the key is another caller's")
        return found

    def first_named(self, held: Sequence[Registration], key_ids: Sequence[bytes] | None) -> Registration:
        """Return the key that a second factor takes of several: the first that its caller named.

        Raises:
            AuthenticatorError: ACCESS_DENIED where none is named.
        """
        if not key_ids:
            raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "a second factor wants the key handle")
        return min(held, key=lambda entry: key_ids.index(entry.key_id))

    def _choose(self, app_id: str, access_token: bytes, key_ids: Sequence[bytes] | None) -> Registration:
        if key_ids is not None and len(key_ids) == 1:
            single = self._state.registration(key_ids[0])  # from memory, unlike what `candidates` reads
            if (
                single is not None
                and single.aaid == self._aaid
                and single.app_id == app_id
                and hmac.compare_digest(single.access_token, access_token)
            ):
                return single
        candidates = self.candidates(app_id, access_token, key_ids)
        if self.model.is_second_factor:
            return self.first_named(candidates, key_ids)
        if len(candidates) == 1:
            return candidates[0]
        newest: dict[str, Registration] = {}
        for entry in candidates:
            newest.pop(entry.username, None)  # so that the order is that of the newest registrations, too
            newest[entry.username] = entry
        if len(newest) == 1:
            return candidates[-1]
        usernames = list(newest)
        return newest[usernames[self._verifier.choose(usernames)]]

    def _check_content_hash(self, content_hash: bytes) -> None:
        if not self.model.takes_hash or len(content_hash) != self._hash_bytes:
            raise AuthenticatorError(CommandStatus.PARAMS_INVALID, "a transaction is shown, its hash is not enough")

    def verify_user(self, request: VerificationRequest, verified: UserVerification | None = None) -> None:
        """Let the user be verified, unless `verified` already, and hold what happened against what the model claims."""
        if (verified or self._verifier.verify(request)) != self.model.verification:
            raise AuthenticatorError(CommandStatus.ACCESS_DENIED, "the user was not verified as this model claims")

    def _open(self, key_id: bytes) -> _UserKey:
        key = self._source.open(key_id)
        verified = self._template(AuthenticationMode.USER_VERIFIED, key_id, 0)
        confirmed = self._template(AuthenticationMode.TRANSACTION_CONFIRMED, key_id, self._hash_bytes)
        sign = signer(key, self.model.key_kind.algorithm)
        opened = self._user_keys[key_id] = _UserKey(sign, verified, confirmed)
        return opened

    def _template(self, mode: AuthenticationMode, key_id: bytes, content_hash_bytes: int) -> SignedDataTemplate:
        return SignedDataTemplate(
            self._aaid.encode("ascii"),
            (AUTHENTICATOR_VERSION, mode, self.algorithm),
            key_id=key_id,
            nonce_bytes=NONCE_BYTES,
            hash_bytes=(self._hash_bytes, content_hash_bytes),
        )

    def check_hash(self, final_challenge_hash: bytes) -> None:
        """Refuse a hash that is not as long as those of this model's algorithm."""
        if len(final_challenge_hash) != self._hash_bytes:
            raise AuthenticatorError(CommandStatus.PARAMS_INVALID, "not a hash of this model's algorithm")
