"""authenticatorGetAssertion and authenticatorGetNextAssertion (CTAP 2.1, sections 6.2.2 and 6.3)."""

from typing import Any, Final

from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import NEXT_SECONDS, Core, PendingAssertions, rp_id_hash_of, within
from fidoloop.authenticator.ctap2.credentials import Credential, Protection
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.extensions import AssertionExtensions, assertion_outputs, read_assertion_extensions
from fidoloop.authenticator.ctap2.members import Members
from fidoloop.authenticator.ctap2.requests import GetAssertionRequest, read_get_assertion
from fidoloop.authenticator.ctap2.signing import ALGORITHMS
from fidoloop.authenticator.ctap2.verification import (
    check_auth_parameter,
    required_verification,
    verify_by_token,
    verify_here,
    wants_built_in_verification,
)
from fidoloop.protocol.ctap.authenticator_data import USER_PRESENT, USER_VERIFIED, encode_authenticator_data

OPERATION: Final = "authentication"


def get_assertion(core: Core, members: Members) -> dict[int, Any]:
    """Sign with a credential of the relying party. Raises CtapError; KeyStoreError, TamperedStateError."""
    request = read_get_assertion(members)
    wants_presence = request.options.user_presence is not False
    extensions = read_assertion_extensions(core, request.extensions, user_presence=wants_presence)
    check_auth_parameter(core, request.auth_parameter, request.auth_protocol)  # steps 1 and 2
    built_in = _options(core, request, wants_presence=wants_presence)  # steps 4 and 5
    verified, present = _verify_user(core, request, built_in=built_in)  # step 6
    rp_id_hash = rp_id_hash_of(request.rp_id)
    credentials = _applicable(core, request, rp_id_hash, verified=verified)  # step 7
    if not credentials:
        raise CtapError(ERR.NO_CREDENTIALS)
    if wants_presence:  # steps 8 and 9
        if not present:
            core.interaction.presence(OPERATION, request.rp_id)
        core.token.spend()
    pending = PendingAssertions(
        credentials=credentials,
        position=0,
        rp_id_hash=rp_id_hash,
        client_data_hash=request.client_data_hash,
        flags=(USER_PRESENT if wants_presence else 0) | (USER_VERIFIED if verified else 0),
        extensions=extensions,
        asked_at=0.0,
    )
    response = _assertion(core, pending, extensions)
    if len(credentials) > 1:
        response[0x05] = len(credentials)
        pending.asked_at = core.clock()
        core.pending_assertions = pending
    return response


def get_next_assertion(core: Core) -> dict[int, Any]:
    """Sign with the next of several discoverable credentials. Raises CtapError(NOT_ALLOWED)."""
    pending = core.pending_assertions
    if pending is None or pending.position + 1 >= len(pending.credentials):
        core.pending_assertions = None
        raise CtapError(ERR.NOT_ALLOWED)
    core.pending_assertions = None  # kept where all goes well
    within(core, NEXT_SECONDS, pending.asked_at)
    pending.position += 1
    extensions = pending.extensions
    assert extensions is None or isinstance(extensions, AssertionExtensions)
    response = _assertion(core, pending, extensions)
    pending.asked_at = core.clock()
    core.pending_assertions = pending
    return response


def _options(core: Core, request: GetAssertionRequest, *, wants_presence: bool) -> bool:
    """Steps 4 and 5: return whether the authenticator has to verify the user itself."""
    if request.options.resident is not None:
        raise CtapError(ERR.UNSUPPORTED_OPTION)
    built_in = wants_built_in_verification(core, request)
    if core.state.settings.always_uv and wants_presence:
        return required_verification(core, request, built_in=built_in)
    return built_in


def _verify_user(core: Core, request: GetAssertionRequest, *, built_in: bool) -> tuple[bool, bool]:
    """Step 6: return whether the user was verified, and by that was present."""
    if request.auth_parameter is not None:
        verify_by_token(core, request, Permission.GET_ASSERTION)
        return True, core.token.user_present
    if built_in:
        verify_here(core, OPERATION, request)
    return built_in, built_in


def _applicable(core: Core, request: GetAssertionRequest, rp_id_hash: bytes, *, verified: bool) -> list[Credential]:
    """Step 7: return the credentials that may be used; of an allow list the first one, else all, the newest first."""
    if request.listed:
        for credential_id in request.allow:
            found = core.credential(rp_id_hash, credential_id)
            if found is not None and (verified or found.protection is not Protection.REQUIRED):
                return [found]
        return []
    residents = [core.credential(rp_id_hash, one.credential_id) for one in core.residents_of(rp_id_hash)]
    return [one for one in residents if one is not None and (verified or one.protection is Protection.OPTIONAL)]


def _assertion(core: Core, pending: PendingAssertions, extensions: AssertionExtensions | None) -> dict[int, Any]:
    """Steps 10 to 13, for the credential whose turn it is."""
    credential = pending.credentials[pending.position]
    verified = bool(pending.flags & USER_VERIFIED)
    outputs = None if extensions is None else assertion_outputs(core, extensions, credential, user_verified=verified)
    key = core.key(credential)
    authenticator_data = encode_authenticator_data(
        pending.rp_id_hash, pending.flags, core.state.next_counter(), extensions=outputs
    )
    signature = ALGORITHMS[credential.algorithm].sign(key, authenticator_data + pending.client_data_hash)
    response: dict[int, Any] = {
        0x01: credential.descriptor,
        0x02: authenticator_data,
        0x03: signature,
    }
    stored = core.state.residents().get(credential.credential_id) if credential.resident else None
    if stored is not None:
        # Names are told only where the user was verified and has to choose.
        user = {"id": stored.user_id}
        if verified and len(pending.credentials) > 1:
            user |= _names(stored.user_name, stored.user_display_name)
        response[0x04] = user
        if extensions is not None and extensions.large_blob_key and stored.large_blob_key is not None:
            response[0x07] = stored.large_blob_key
    return response


def _names(name: str | None, display_name: str | None) -> dict[str, Any]:
    names = {"name": name, "displayName": display_name}
    return {key: value for key, value in names.items() if value is not None}
