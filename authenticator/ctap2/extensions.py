"""Extensions: credProtect, hmac-secret, credBlob, minPinLength, largeBlobKey (CTAP 2.1, section 12)."""

import hmac
from typing import Any, Final

import msgspec
from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.credentials import Credential, Protection
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.limits import MAX_CRED_BLOB
from fidoloop.authenticator.ctap2.members import Members, optional, required, typed, unsigned
from fidoloop.authenticator.ctap2.verification import check_protocol

CRED_PROTECT, HMAC_SECRET, CRED_BLOB = "credProtect", "hmac-secret", "credBlob"
MIN_PIN_LENGTH, LARGE_BLOB_KEY = "minPinLength", "largeBlobKey"
SUPPORTED: Final = (CRED_BLOB, CRED_PROTECT, HMAC_SECRET, LARGE_BLOB_KEY, MIN_PIN_LENGTH)
_SALT_BYTES: Final = 32


class CreationExtensions(msgspec.Struct, frozen=True):
    """What makeCredential was asked for."""

    protection: Protection | None
    hmac_secret: bool
    cred_blob: bytes | None
    min_pin_length: bool
    large_blob_key: bool

    def outputs(self, core: Core, rp_id: str) -> dict[str, Any]:
        """Return the authenticator extension outputs."""
        outputs: dict[str, Any] = {}
        if self.protection is not None:
            outputs[CRED_PROTECT] = int(self.protection)
        if self.hmac_secret:
            outputs[HMAC_SECRET] = True
        if self.cred_blob is not None:
            outputs[CRED_BLOB] = len(self.cred_blob) <= MAX_CRED_BLOB
        settings = core.state.settings
        if self.min_pin_length and rp_id in settings.min_pin_rp_ids:
            outputs[MIN_PIN_LENGTH] = settings.min_pin_length
        return outputs

    def kept_blob(self) -> bytes:
        """Return the credBlob where it is not too long to be kept, nothing otherwise."""
        return self.cred_blob if self.cred_blob is not None and len(self.cred_blob) <= MAX_CRED_BLOB else b""


class HmacSecretInput(msgspec.Struct, frozen=True):
    """getAssertion's hmac-secret input, not yet looked into."""

    key_agreement: Members
    salt_enc: bytes
    salt_auth: bytes
    protocol: int


class AssertionExtensions(msgspec.Struct, frozen=True):
    """What getAssertion was asked for."""

    hmac_secret: HmacSecretInput | None
    cred_blob: bool
    large_blob_key: bool


def read_creation_extensions(inputs: Members, *, resident: bool) -> CreationExtensions:
    """Read makeCredential's inputs; unknown ones are left out. Raises CtapError."""
    level = unsigned(inputs, CRED_PROTECT)
    if level is not None and level not in Protection.__members__.values():
        raise CtapError(ERR.INVALID_PARAMETER)
    large_blob_key = optional(inputs, LARGE_BLOB_KEY, bool)
    if large_blob_key is False or (large_blob_key and not resident):
        raise CtapError(ERR.INVALID_OPTION)
    return CreationExtensions(
        protection=None if level is None else Protection(level),
        hmac_secret=bool(optional(inputs, HMAC_SECRET, bool)),
        cred_blob=optional(inputs, CRED_BLOB, bytes),
        min_pin_length=bool(optional(inputs, MIN_PIN_LENGTH, bool)),
        large_blob_key=bool(large_blob_key),
    )


def read_assertion_extensions(core: Core, inputs: Members, *, user_presence: bool) -> AssertionExtensions | None:
    """Read getAssertion's inputs, None where there are none. Raises CtapError."""
    if not inputs:
        return None
    found = optional(inputs, HMAC_SECRET, dict)
    if found is not None and not user_presence:
        raise CtapError(ERR.UNSUPPORTED_OPTION)
    if optional(inputs, LARGE_BLOB_KEY, bool) is False:
        raise CtapError(ERR.INVALID_OPTION)
    return AssertionExtensions(
        hmac_secret=None if found is None else _hmac_secret_input(core, found),
        cred_blob=bool(optional(inputs, CRED_BLOB, bool)),
        large_blob_key=LARGE_BLOB_KEY in inputs,
    )


def assertion_outputs(
    core: Core, wanted: AssertionExtensions, credential: Credential, *, user_verified: bool
) -> dict[str, Any]:
    """Return the authenticator extension outputs for one credential. Raises CtapError."""
    outputs: dict[str, Any] = {}
    if wanted.hmac_secret is not None and credential.hmac_secret:
        outputs[HMAC_SECRET] = _hmac_secret(core, wanted.hmac_secret, credential, user_verified=user_verified)
    if wanted.cred_blob:
        stored = core.state.residents().get(credential.credential_id)
        outputs[CRED_BLOB] = credential.cred_blob if stored is None else stored.cred_blob
    return outputs


def _hmac_secret_input(core: Core, found: dict[Any, Any]) -> HmacSecretInput:
    protocol = unsigned(found, 4)
    return HmacSecretInput(
        key_agreement=required(found, 1, dict),
        salt_enc=required(found, 2, bytes),
        salt_auth=required(found, 3, bytes),
        protocol=1 if protocol is None else check_protocol(core, typed(protocol, int)),
    )


def _hmac_secret(core: Core, wanted: HmacSecretInput, credential: Credential, *, user_verified: bool) -> bytes:
    """Return HMAC-SHA-256 of the salts by the credential's secret, encrypted for the platform (section 12.5).

    The secret, CredRandom, is stored nowhere: the token's key derives it, one for verified users and one for others.
    """
    shared = core.protocols[wanted.protocol].decapsulate(wanted.key_agreement)
    if not shared.verify(wanted.salt_enc, wanted.salt_auth):
        raise CtapError(ERR.PIN_AUTH_INVALID)
    salts = shared.decrypt(wanted.salt_enc)
    if salts is None or len(salts) not in (_SALT_BYTES, 2 * _SALT_BYTES):
        raise CtapError(ERR.INVALID_PARAMETER)
    purpose = "CredRandomWithUV" if user_verified else "CredRandomWithoutUV"
    secret = core.state.secret_mac(purpose, credential.key_id)
    parts = (salts[:_SALT_BYTES], salts[_SALT_BYTES:])
    return shared.encrypt(b"".join(hmac.digest(secret, part, "sha256") for part in parts if part))
