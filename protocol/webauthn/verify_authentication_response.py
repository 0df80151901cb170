"""Verifying an authentication assertion: WebAuthn Level 3, section 7.2, from step 5 on."""

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from msgspec import UNSET

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.algorithms import load_credential_key
from fidoloop.protocol.webauthn.authenticator_data import (
    AuthenticatorData,
    check_authenticator_data,
    parse_authenticator_data,
)
from fidoloop.protocol.webauthn.client_data import GET, RelyingParty, check_client_data, parse_client_data
from fidoloop.protocol.webauthn.extensions import check_authentication_outputs
from fidoloop.protocol.webauthn.messages import AuthenticationCredential
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal


class CredentialRecord(msgspec.Struct, frozen=True):
    """What the store knows of a credential; `id` and `user_handle` are base64url."""

    id: str
    user_handle: str
    public_key: bytes
    sign_count: int
    backup_eligible: bool


class AuthenticationExpectations(msgspec.Struct, frozen=True, kw_only=True):
    """What the options asked for; challenge and handle in base64url.

    `allowed` are the ids in allowCredentials, none for whoever answers; `user_handle` is that of the user who was
    identified before, None where he was not. Without `clones_refused` a counter that went back is only reported.
    """

    challenge: str
    user_verification_required: bool
    allowed: Collection[str] = ()
    user_handle: str | None = None
    clones_refused: bool = True
    backup_eligible_allowed: bool = True
    extensions: Mapping[str, Any] = {}


class Assertion(msgspec.Struct, frozen=True):
    """What a verified assertion says; `clone_suspected` where its counter went back or stood still."""

    sign_count: int
    user_verified: bool
    backup_state: bool
    clone_suspected: bool


def verify_authentication_response(
    credential: AuthenticationCredential,
    *,
    rp: RelyingParty,
    expected: AuthenticationExpectations,
    record: CredentialRecord | None,
) -> Assertion:
    """Verify what get() gave; `record` is the store's for `credential.id`, None where it has none.

    Raises:
        WebAuthnRefusal: the first rule of 7.2 that is broken.
    """
    # 5, 6
    record = _identified(credential, expected, record)
    # 7
    document, data, signature = _parts(credential)
    # 8, 9: UTF-8, JSON.
    client_data = parse_client_data(document)
    # 10 to 14: type, challenge, origin, cross origin, top origin.
    check_client_data(client_data, expected_type=GET, expected_challenge=expected.challenge, rp=rp)
    # 15 to 18: RP id, user presence, user verification, backup state.
    check_authenticator_data(
        data,
        rp=rp,
        user_presence_required=True,
        user_verification_required=expected.user_verification_required,
    )
    # 19
    _check_backup_eligibility(data, record, expected)
    # 20
    if credential.clientExtensionResults is not UNSET:
        check_authentication_outputs(credential.clientExtensionResults, expected.extensions)
    # 21, 22
    try:
        load_credential_key(record.public_key).verify(signature, data.raw + sha256(document).digest())
    except InvalidSignature:
        raise WebAuthnRefusal(Rule.SIGNATURE, "the signature does not verify") from None
    # 23
    clone = (data.sign_count != 0 or record.sign_count != 0) and data.sign_count <= record.sign_count
    if clone and expected.clones_refused:
        raise WebAuthnRefusal(Rule.COUNTER, "the signature counter did not rise: there may be a clone of the key")
    return Assertion(data.sign_count, data.user_verified, data.backup_state, clone)


def _identified(
    credential: AuthenticationCredential, expected: AuthenticationExpectations, record: CredentialRecord | None
) -> CredentialRecord:
    """Return the record of the credential that answered, whose user is the one that is to be logged in."""
    if credential.rawId not in (UNSET, credential.id):
        raise WebAuthnRefusal(Rule.CREDENTIAL_ID, "rawId is not id")
    if expected.allowed and credential.id not in expected.allowed:
        raise WebAuthnRefusal(Rule.CREDENTIAL, "the credential is none of the options'")
    if record is None or record.id != credential.id:
        raise WebAuthnRefusal(Rule.CREDENTIAL, "the credential is not known")
    handle = credential.response.userHandle
    if expected.user_handle is not None and record.user_handle != expected.user_handle:
        raise WebAuthnRefusal(Rule.CREDENTIAL, "the credential is of another user")
    # Some clients write "" for none.
    if handle is UNSET or handle is None or handle == "":
        if expected.user_handle is None:
            raise WebAuthnRefusal(Rule.USER_HANDLE, "userHandle is missing, and no user was named before")
    elif handle != record.user_handle:
        raise WebAuthnRefusal(Rule.USER_HANDLE, "userHandle is not that of the credential's user")
    return record


def _parts(credential: AuthenticationCredential) -> tuple[bytes, AuthenticatorData, bytes]:
    response = credential.response
    try:
        return (
            base64url.decode(response.clientDataJSON, "clientDataJSON"),
            parse_authenticator_data(base64url.decode(response.authenticatorData, "authenticatorData")),
            base64url.decode(response.signature, "signature"),
        )
    except MalformedError as error:
        raise WebAuthnRefusal(Rule.MALFORMED, str(error)) from None


def _check_backup_eligibility(
    data: AuthenticatorData, record: CredentialRecord, expected: AuthenticationExpectations
) -> None:
    if data.backup_eligible != record.backup_eligible:
        raise WebAuthnRefusal(Rule.BACKUP_ELIGIBILITY, "backup eligibility (BE) is not what it was at registration")
    if data.backup_eligible and not expected.backup_eligible_allowed:
        raise WebAuthnRefusal(Rule.BACKUP_ELIGIBILITY, "only credentials that stay on one device are taken (BE)")
