"""authenticatorMakeCredential (CTAP 2.1, section 6.1.2); the steps are numbered as there."""

import os
from typing import Any

from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.attestation import attestation_statement
from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import Core, rp_id_hash_of
from fidoloop.authenticator.ctap2.credentials import Credential, Protection
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.extensions import CreationExtensions, read_creation_extensions
from fidoloop.authenticator.ctap2.members import Members
from fidoloop.authenticator.ctap2.requests import MakeCredentialRequest, read_make_credential
from fidoloop.authenticator.ctap2.signing import cose_key
from fidoloop.authenticator.ctap2.state import ResidentCredential
from fidoloop.authenticator.ctap2.verification import (
    check_auth_parameter,
    required_verification,
    verify_by_token,
    verify_here,
    wants_built_in_verification,
)
from fidoloop.protocol.ctap.authenticator_data import (
    USER_PRESENT,
    USER_VERIFIED,
    encode_attested_credential,
    encode_authenticator_data,
)

OPERATION = "registration"
LARGE_BLOB_KEY_BYTES = 32


def make_credential(core: Core, members: Members) -> dict[int, Any]:
    """Make a credential and attest it. Raises CtapError; KeyStoreError, TamperedStateError."""
    request = read_make_credential(members)
    resident = bool(request.options.resident)
    extensions = read_creation_extensions(request.extensions, resident=resident)
    check_auth_parameter(core, request.auth_parameter, request.auth_protocol)  # steps 1 and 2
    algorithm = next((one for one in request.algorithms if one in core.algorithms), None)  # step 3
    if algorithm is None:
        raise CtapError(ERR.UNSUPPORTED_ALGORITHM)
    built_in = _options(core, request, resident=resident)  # steps 5 to 9
    verified, present = _verify_user(core, request, built_in=built_in)  # steps 10 and 11
    rp_id_hash = rp_id_hash_of(request.rp_id)
    _refuse_excluded(core, request, rp_id_hash, verified=verified, present=present)  # step 12
    if not present:  # steps 13 and 14
        core.interaction.presence(OPERATION, request.rp_id, request.user.name)
    core.token.spend()
    flags = USER_PRESENT | (USER_VERIFIED if verified else 0)
    return _create(core, request, extensions, algorithm, flags)


def _options(core: Core, request: MakeCredentialRequest, *, resident: bool) -> bool:
    """Steps 5 to 9: return whether the authenticator has to verify the user itself."""
    built_in = wants_built_in_verification(core, request)
    if request.options.user_presence is False:
        raise CtapError(ERR.INVALID_OPTION)
    if core.state.settings.always_uv:  # step 6, and step 8 because makeCredUvNotRqd is false then
        built_in = required_verification(core, request, built_in=built_in)
    elif resident and core.protected and not built_in and request.auth_parameter is None:  # step 7
        raise CtapError(ERR.PUAT_REQUIRED)
    if request.enterprise_attestation is not None:
        raise CtapError(ERR.INVALID_PARAMETER)
    return built_in


def _verify_user(core: Core, request: MakeCredentialRequest, *, built_in: bool) -> tuple[bool, bool]:
    """Steps 10 and 11: return whether the user was verified, and by that was present."""
    if request.auth_parameter is not None:
        verify_by_token(core, request, Permission.MAKE_CREDENTIAL)
        return True, core.token.user_present
    if built_in:
        verify_here(core, OPERATION, request)
    return built_in, built_in


def _refuse_excluded(
    core: Core, request: MakeCredentialRequest, rp_id_hash: bytes, *, verified: bool, present: bool
) -> None:
    """Step 12: who is not verified does not learn of credentials that only verified users may use."""
    for credential_id in request.exclude:
        found = core.credential(rp_id_hash, credential_id)
        if found is None or (found.protection is Protection.REQUIRED and not verified):
            continue
        if not present:
            try:
                core.interaction.presence(OPERATION, request.rp_id)
            except CtapError as error:
                if error.code is ERR.KEEPALIVE_CANCEL:
                    raise
        raise CtapError(ERR.CREDENTIAL_EXCLUDED)


def _create(
    core: Core, request: MakeCredentialRequest, extensions: CreationExtensions, algorithm: int, flags: int
) -> dict[int, Any]:
    """Steps 15 to 20."""
    rp_id_hash, resident = rp_id_hash_of(request.rp_id), bool(request.options.resident)
    replaced = _same_account(core, request, rp_id_hash) if resident else None
    if resident and replaced is None and not core.room():
        raise CtapError(ERR.KEY_STORE_FULL)
    credential, key = core.make_key(
        rp_id_hash,
        algorithm,
        protection=extensions.protection or Protection.OPTIONAL,
        hmac_secret=extensions.hmac_secret,
        resident=resident,
        cred_blob=b"" if resident else extensions.kept_blob(),
    )
    try:
        authenticator_data = encode_authenticator_data(
            rp_id_hash,
            flags,
            core.state.next_counter(),
            attested_credential=encode_attested_credential(
                core.aaguid, credential.credential_id, cose_key(key, algorithm)
            ),
            extensions=extensions.outputs(core, request.rp_id),
        )
        signed = authenticator_data + request.client_data_hash
        statement = attestation_statement(core.attestation, key, algorithm, signed)
        response: dict[int, Any] = {0x01: "packed", 0x02: authenticator_data, 0x03: statement}
        if resident:
            stored = _resident(request, extensions, rp_id_hash, credential)
            core.state.put(stored, credential.key_id, instead_of=None if replaced is None else replaced.key_id)
            if stored.large_blob_key is not None:
                response[0x05] = stored.large_blob_key
    except BaseException:
        # No key without a credential: it could never be used, and would fill the token.
        core.destroy_key(credential.key_id)
        raise
    if replaced is not None:
        core.destroy_key(replaced.key_id)
    return response


def _same_account(core: Core, request: MakeCredentialRequest, rp_id_hash: bytes) -> Credential | None:
    """Return the discoverable credential of the same relying party and user, which a new one replaces (step 17)."""
    for stored in core.residents_of(rp_id_hash):
        if stored.user_id == request.user.user_id:
            return core.credential(rp_id_hash, stored.credential_id)
    return None


def _resident(
    request: MakeCredentialRequest, extensions: CreationExtensions, rp_id_hash: bytes, credential: Credential
) -> ResidentCredential:
    return ResidentCredential(
        credential_id=credential.credential_id,
        rp_id=request.rp_id,
        rp_id_hash=rp_id_hash,
        user_id=request.user.user_id,
        user_name=request.user.name,
        user_display_name=request.user.display_name,
        cred_blob=extensions.kept_blob(),
        large_blob_key=os.urandom(LARGE_BLOB_KEY_BYTES) if extensions.large_blob_key else None,
    )
