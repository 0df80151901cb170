"""The steps on user verification that makeCredential and getAssertion have in common (CTAP 2.1, 6.1.2 and 6.2.2)."""

from fido2.ctap import CtapError

from fidoloop.authenticator.ctap2.auth_token import Permission
from fidoloop.authenticator.ctap2.core import Core
from fidoloop.authenticator.ctap2.errors import ERR, status_of
from fidoloop.authenticator.ctap2.requests import GetAssertionRequest, MakeCredentialRequest
from fidoloop.authenticator.ctap2.state import UV_RETRIES
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus

Request = MakeCredentialRequest | GetAssertionRequest


def check_auth_parameter(core: Core, parameter: bytes | None, protocol: int | None) -> None:
    """Let the user select this authenticator where the parameter is empty (step 1); check the protocol (step 2).

    Raises:
        CtapError: PIN_NOT_SET or PIN_INVALID, which tell the platform that it was selected; OPERATION_DENIED,
            USER_ACTION_TIMEOUT; MISSING_PARAMETER, INVALID_PARAMETER for the protocol.
    """
    if parameter is None:
        return
    if not parameter:
        core.interaction.presence("selection")
        raise CtapError(ERR.PIN_INVALID if core.pin_set else ERR.PIN_NOT_SET)
    check_protocol(core, protocol)


def check_protocol(core: Core, protocol: int | None) -> int:
    """Return the number of a protocol that is here. Raises CtapError: MISSING_PARAMETER, INVALID_PARAMETER."""
    if protocol is None:
        raise CtapError(ERR.MISSING_PARAMETER)
    if protocol not in core.protocols:
        raise CtapError(ERR.INVALID_PARAMETER)
    return protocol


def wants_built_in_verification(core: Core, request: Request) -> bool:
    """Read the option uv, which does not count beside a pinUvAuthParam. Raises CtapError(INVALID_OPTION)."""
    if request.auth_parameter is not None or not request.options.user_verification:
        return False
    if not core.interaction.verifies:
        raise CtapError(ERR.INVALID_OPTION)
    return True


def required_verification(core: Core, request: Request, *, built_in: bool) -> bool:
    """Where a user has to be verified: return whether to do so here. Raises CtapError(PUAT_REQUIRED)."""
    if request.auth_parameter is not None:
        if not core.protected:
            raise CtapError(ERR.PIN_NOT_SET)
        return False
    if not built_in and not core.interaction.verifies:
        raise CtapError(ERR.PUAT_REQUIRED)
    return True


def verify_by_token(core: Core, request: Request, permission: Permission) -> None:
    """Hold the pinUvAuthParam against the token, its permissions and RP ID. Raises CtapError(PIN_AUTH_INVALID)."""
    assert request.auth_parameter is not None
    assert request.auth_protocol is not None
    if not core.protected:
        raise CtapError(ERR.PIN_NOT_SET)
    token = core.token
    proven = token.verify(request.auth_protocol, request.client_data_hash, request.auth_parameter)
    if not proven or permission not in token.permissions or not token.user_verified:
        raise CtapError(ERR.PIN_AUTH_INVALID)
    if token.rp_id not in (None, request.rp_id):
        raise CtapError(ERR.PIN_AUTH_INVALID)
    token.rp_id = request.rp_id


def verify_here(core: Core, operation: str, request: Request) -> None:
    """Let the authenticator verify the user. Raises CtapError."""
    try:
        perform_built_in(core, operation, request.rp_id)
    except CtapError as error:
        if error.code in (ERR.USER_ACTION_TIMEOUT, ERR.KEEPALIVE_CANCEL):
            raise
        if core.pin_set:
            raise CtapError(ERR.PUAT_REQUIRED) from None
        if error.code is ERR.UV_INVALID:
            raise CtapError(ERR.OPERATION_DENIED) from None
        raise


def perform_built_in(core: Core, operation: str, rp_id: str) -> None:
    """Let the authenticator verify the user and count the tries (performBuiltInUv).

    Raises:
        CtapError: UV_BLOCKED, UV_INVALID, USER_ACTION_TIMEOUT, OPERATION_DENIED.
    """
    if not core.state.settings.uv_retries:
        raise CtapError(ERR.UV_BLOCKED)
    left = core.state.take_try("uv_retries").uv_retries
    try:
        core.interaction.verification(operation, rp_id)
    except AuthenticatorError as error:
        if error.status is not CommandStatus.ACCESS_DENIED:  # nobody tried
            core.state.update(uv_retries=left + 1)
            raise CtapError(status_of(error)) from None
        raise CtapError(ERR.UV_INVALID if left else ERR.UV_BLOCKED) from None
    core.state.update(uv_retries=UV_RETRIES)
