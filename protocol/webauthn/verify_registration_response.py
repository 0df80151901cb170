"""Registering a new credential: WebAuthn Level 3, section 7.1, from step 5 on."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.algorithms import load_credential_key
from fidoloop.protocol.webauthn.attestation import Attested, verify_attestation
from fidoloop.protocol.webauthn.attestation_object import AttestationObject, parse_attestation_object
from fidoloop.protocol.webauthn.authenticator_data import MAX_CREDENTIAL_ID, check_authenticator_data
from fidoloop.protocol.webauthn.client_data import CREATE, RelyingParty, check_client_data, parse_client_data
from fidoloop.protocol.webauthn.extensions import check_registration_outputs
from fidoloop.protocol.webauthn.messages import RegistrationCredential, RegistrationOutputs
from fidoloop.protocol.webauthn.models import ModelLookup
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.trust import Trust, TrustPolicy, assess_trust


class RegistrationExpectations(msgspec.Struct, frozen=True, kw_only=True):
    """What the options asked for; the challenge in base64url. Presence may lack only under conditional mediation."""

    challenge: str
    algorithms: frozenset[int]
    user_verification_required: bool
    user_presence_required: bool = True
    backup_eligible_allowed: bool = True
    extensions: Mapping[str, Any] = {}
    trust: TrustPolicy = TrustPolicy.OPEN


class RegisteredCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential record (WebAuthn 4), and what its attestation is worth; `model` is what people call it."""

    id: str
    public_key: bytes
    algorithm: int
    sign_count: int
    user_verified: bool
    backup_eligible: bool
    backup_state: bool
    transports: tuple[str, ...]
    aaguid: UUID
    format: str
    attestation_type: str
    trusted: bool
    model: str | None
    discoverable: bool | None


def verify_registration_response(
    credential: RegistrationCredential,
    *,
    rp: RelyingParty,
    expected: RegistrationExpectations,
    models: ModelLookup,
    at: datetime,
) -> RegisteredCredential:
    """Verify what create() gave at time `at` (UTC). Step 27, that nobody has this credential yet, is the store's.

    Raises:
        WebAuthnRefusal: the first rule of 7.1 that is broken.
    """
    # 5, 6: UTF-8, JSON.
    document = _bytes(credential.response.clientDataJSON, "clientDataJSON")
    client_data = parse_client_data(document)
    # 7 to 11: type, challenge, origin, cross origin, top origin.
    check_client_data(client_data, expected_type=CREATE, expected_challenge=expected.challenge, rp=rp)
    # 12
    client_data_hash = sha256(document).digest()
    # 13
    found = _attestation_object(credential)
    data = found.authenticator_data
    # 14 to 17: RP id, user presence, user verification, backup state.
    check_authenticator_data(
        data,
        rp=rp,
        user_presence_required=expected.user_presence_required,
        user_verification_required=expected.user_verification_required,
    )
    # 18, 19: the backup state informs nobody here.
    if data.backup_eligible and not expected.backup_eligible_allowed:
        raise WebAuthnRefusal(Rule.BACKUP_ELIGIBILITY, "only credentials that stay on one device are taken (BE)")
    # 20
    key = load_credential_key(found.credential.public_key)
    if key.algorithm not in expected.algorithms:
        raise WebAuthnRefusal(Rule.ALGORITHM, f"COSE algorithm {key.algorithm} is none of the options'")
    # 21
    outputs = RegistrationOutputs() if credential.clientExtensionResults is UNSET else credential.clientExtensionResults
    discoverable = check_registration_outputs(outputs, data.extensions, expected.extensions)
    # 22, 23
    attested = verify_attestation(found, client_data_hash)
    # 24, 25, 29
    trust = assess_trust(attested, found.credential.aaguid, models=models, policy=expected.trust, at=at)
    # 26
    _check_id(credential, found)
    # 28
    return _record(credential, found, attested, trust, discoverable)


def _record(
    credential: RegistrationCredential,
    found: AttestationObject,
    attested: Attested,
    trust: Trust,
    discoverable: bool | None,
) -> RegisteredCredential:
    data = found.authenticator_data
    return RegisteredCredential(
        id=credential.id,
        public_key=found.credential.public_key,
        algorithm=load_credential_key(found.credential.public_key).algorithm,
        sign_count=data.sign_count,
        user_verified=data.user_verified,
        backup_eligible=data.backup_eligible,
        backup_state=data.backup_state,
        transports=() if credential.response.transports is UNSET else credential.response.transports,
        aaguid=UUID(bytes=found.credential.aaguid),
        format=found.format,
        attestation_type=str(attested.type),
        trusted=trust.trusted,
        model=None if trust.model is None else trust.model.description,
        discoverable=discoverable,
    )


def _bytes(text: str, where: str) -> bytes:
    try:
        return base64url.decode(text, where)
    except MalformedError as error:
        raise WebAuthnRefusal(Rule.MALFORMED, str(error)) from None


def _attestation_object(credential: RegistrationCredential) -> AttestationObject:
    raw = _bytes(credential.response.attestationObject, "attestationObject")
    try:
        return parse_attestation_object(raw)
    except MalformedError as error:
        raise WebAuthnRefusal(Rule.MALFORMED, str(error)) from None


def _check_id(credential: RegistrationCredential, found: AttestationObject) -> None:
    attested = found.credential.id
    if not 1 <= len(attested) <= MAX_CREDENTIAL_ID:
        raise WebAuthnRefusal(Rule.CREDENTIAL_ID, f"a credential id of {len(attested)} bytes, 1 to 1023 allowed")
    if credential.id != base64url.encode(attested) or credential.rawId not in (UNSET, credential.id):
        raise WebAuthnRefusal(Rule.CREDENTIAL_ID, "id is not the credential id of the attested credential data")
