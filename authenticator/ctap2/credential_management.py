"""authenticatorCredentialManagement (CTAP 2.1, section 6.8)."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from fido2.ctap import CtapError
from fido2.ctap2.credman import CredentialManagement

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import NEXT_SECONDS, Core, rp_id_hash_of, within
from fidoloop.authenticator.ctap2.credentials import Credential
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.members import (
    Members,
    descriptor_id,
    encoded,
    optional,
    required,
    required_unsigned,
)
from fidoloop.authenticator.ctap2.proofs import require_proof
from fidoloop.authenticator.ctap2.requests import HASH_BYTES, read_user
from fidoloop.authenticator.ctap2.signing import cose_key
from fidoloop.authenticator.ctap2.state import ResidentCredential

Subcommand = CredentialManagement.CMD
Parameter = CredentialManagement.PARAM
Result = CredentialManagement.RESULT
_SUBCOMMAND, _PARAMETERS, _PROTOCOL, _AUTH = range(1, 5)


def credential_management(core: Core, members: Members) -> dict[int, Any]:
    """Do one subcommand. Raises CtapError; KeyStoreError, TamperedStateError."""
    number = required_unsigned(members, _SUBCOMMAND)
    parameters: dict[Any, Any] = optional(members, _PARAMETERS, dict) or {}
    if number == Subcommand.ENUMERATE_RPS_NEXT:
        return _enumerate_rps_next(core)
    if number == Subcommand.ENUMERATE_CREDS_NEXT:
        return _enumerate_credentials_next(core)
    subcommand = _SUBCOMMANDS.get(number)
    if subcommand is None:
        raise CtapError(ERR.INVALID_SUBCOMMAND)
    message = bytes((number,)) + encoded(members, _PARAMETERS)
    prepared = _PREPARED[number](parameters) if number in _PREPARED else None
    require_proof(
        core, members, protocol=_PROTOCOL, parameter=_AUTH, message=message, permission=Permission.CREDENTIAL_MGMT
    )
    return subcommand(core, prepared)


def _metadata(core: Core, _: object) -> dict[int, Any]:
    _require_for_all(core)
    return {Result.EXISTING_CRED_COUNT: len(core.state.residents()), Result.MAX_REMAINING_COUNT: core.room()}


def _enumerate_rps(core: Core, _: object) -> dict[int, Any]:
    _require_for_all(core)
    by_rp = {one.rp_id_hash: one for one in core.state.residents().values()}
    if not by_rp:
        raise CtapError(ERR.NO_CREDENTIALS)
    core.pending_rps, core.enumerated_at = list(by_rp.values()), core.clock()
    return {**_enumerate_rps_next(core), Result.TOTAL_RPS: len(by_rp)}


def _enumerate_rps_next(core: Core) -> dict[int, Any]:
    found = _next(core, core.pending_rps)
    return {Result.RP: {"id": found.rp_id}, Result.RP_ID_HASH: found.rp_id_hash}


def _enumerate_credentials(core: Core, rp_id_hash: object) -> dict[int, Any]:
    assert isinstance(rp_id_hash, bytes)
    _require_for(core, rp_id_hash)
    found = core.residents_of(rp_id_hash)
    if not found:
        raise CtapError(ERR.NO_CREDENTIALS)
    core.pending_credentials, core.enumerated_at = found, core.clock()
    total = len(found)
    return {**_enumerate_credentials_next(core), Result.TOTAL_CREDENTIALS: total}


def _enumerate_credentials_next(core: Core) -> dict[int, Any]:
    stored = _next(core, core.pending_credentials)
    credential = _credential(core, stored)
    user = {"id": stored.user_id, "name": stored.user_name, "displayName": stored.user_display_name}
    entry: dict[int, Any] = {
        Result.USER: {name: value for name, value in user.items() if value is not None},
        Result.CREDENTIAL_ID: credential.descriptor,
        Result.PUBLIC_KEY: cose_key(core.key(credential), credential.algorithm),
        Result.CRED_PROTECT: int(credential.protection),
    }
    if stored.large_blob_key is not None:
        entry[Result.LARGE_BLOB_KEY] = stored.large_blob_key
    return entry


def _next(core: Core, pending: list[ResidentCredential]) -> ResidentCredential:
    """Return what comes next of an enumeration. Raises CtapError(NOT_ALLOWED) where nothing does, or it is too late."""
    within(core, NEXT_SECONDS, core.enumerated_at)
    if not pending:
        raise CtapError(ERR.NOT_ALLOWED)
    core.enumerated_at = core.clock()
    return pending.pop(0)


def _delete(core: Core, credential_id: object) -> dict[int, Any]:
    stored = _stored(core, credential_id)
    credential = _credential(core, stored)
    core.state.remove(credential.key_id)
    core.destroy_key(credential.key_id)
    return {}


def _update_user(core: Core, prepared: object) -> dict[int, Any]:
    assert isinstance(prepared, tuple)
    credential_id, user = prepared
    stored = _stored(core, credential_id)
    if stored.user_id != user.user_id:
        raise CtapError(ERR.INVALID_PARAMETER)
    changed = msgspec.structs.replace(stored, user_name=user.name, user_display_name=user.display_name)
    core.state.put(changed, _credential(core, stored).key_id)
    return {}


_SUBCOMMANDS: Final[dict[int, Callable[[Core, object], dict[int, Any]]]] = {
    Subcommand.GET_CREDS_METADATA: _metadata,
    Subcommand.ENUMERATE_RPS_BEGIN: _enumerate_rps,
    Subcommand.ENUMERATE_CREDS_BEGIN: _enumerate_credentials,
    Subcommand.DELETE_CREDENTIAL: _delete,
    Subcommand.UPDATE_USER_INFO: _update_user,
}


def _read_rp_id_hash(parameters: Members) -> bytes:
    rp_id_hash = required(parameters, Parameter.RP_ID_HASH, bytes)
    if len(rp_id_hash) != HASH_BYTES:
        raise CtapError(ERR.INVALID_LENGTH)
    return rp_id_hash


def _read_credential_id(parameters: Members) -> bytes | None:
    return descriptor_id(required(parameters, Parameter.CREDENTIAL_ID, dict))


def _read_update(parameters: Members) -> object:
    return _read_credential_id(parameters), read_user(required(parameters, Parameter.USER, dict))


_PREPARED: Final[dict[int, Callable[[Members], object]]] = {
    Subcommand.ENUMERATE_CREDS_BEGIN: _read_rp_id_hash,
    Subcommand.DELETE_CREDENTIAL: _read_credential_id,
    Subcommand.UPDATE_USER_INFO: _read_update,
}


def _require_for_all(core: Core) -> None:
    """A token that is for one relying party says nothing about all."""
    if core.token.rp_id is not None:
        raise CtapError(ERR.PIN_AUTH_INVALID)


def _require_for(core: Core, rp_id_hash: bytes) -> None:
    if core.token.rp_id is not None and rp_id_hash_of(core.token.rp_id) != rp_id_hash:
        raise CtapError(ERR.PIN_AUTH_INVALID)


def _stored(core: Core, credential_id: object) -> ResidentCredential:
    """Return the discoverable credential meant, where the token may be used for it."""
    stored = core.state.residents().get(credential_id) if isinstance(credential_id, bytes) else None
    if stored is None:
        raise CtapError(ERR.NO_CREDENTIALS)
    _require_for(core, stored.rp_id_hash)
    return stored


def _credential(core: Core, stored: ResidentCredential) -> Credential:
    credential = core.credential(stored.rp_id_hash, stored.credential_id)
    if credential is None:
        raise CtapError(ERR.NO_CREDENTIALS)
    return credential
