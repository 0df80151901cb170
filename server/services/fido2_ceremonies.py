"""From requests to the FIDO2 core and back, whatever the shape around it; and how a refusal is told."""

import logging
from collections.abc import Awaitable, Callable

from msgspec import UNSET

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.webauthn.messages import (
    AuthenticationCredential,
    AuthenticatorSelection,
    CreationOptions,
    RegistrationCredential,
    RequestOptions,
)
from fidoloop.protocol.webauthn.refusal import WebAuthnRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.fido2.authentication import (
    Authenticated,
    NewAuthentication,
    begin_authentication,
    finish_authentication,
)
from fidoloop.server.fido2.authority import enrolling_authority
from fidoloop.server.fido2.errors import Fido2Error, UnknownUserError
from fidoloop.server.fido2.registration import NewRegistration, Registered, begin_registration, finish_registration
from fidoloop.server.http.messages import Request, Response, json_response
from fidoloop.server.http.problems import retry_after
from fidoloop.server.rate_limits import TooManyError
from fidoloop.server.services.fido2_messages import FAILED, Fido2OptionsRequest, Fido2Result

Handler = Callable[[Environment, Request], Awaitable[Response]]
_log = logging.getLogger("fidoloop.server.fido2")


def telling_failures(handler: Handler) -> Handler:
    """Return the service with its refusals as {"status": "failed", "errorMessage"} under a status of HTTP."""

    async def serve(environment: Environment, request: Request) -> Response:
        try:
            return await handler(environment, request)
        except MalformedError as error:
            return _failed(400, str(error))
        except WebAuthnRefusal as refusal:
            return _failed(400, refusal.detail)
        except Fido2Error as error:
            return _failed(403, str(error))

    return serve


async def registration_options(
    environment: Environment, request: Request, asked: Fido2OptionsRequest
) -> tuple[str, CreationOptions]:
    """Return a session id and creation options. Raises HttpProblem 401, Fido2Error, MalformedError."""
    authority = await enrolling_authority(environment, request)
    if asked.username is UNSET:
        raise MalformedError("$.username", "a registration is for a user")
    if authority.username not in (None, asked.username):
        raise UnknownUserError("a browser makes passkeys for the user who is logged in only")
    _check_domain(environment, asked)
    new = NewRegistration(
        username=asked.username,
        display_name=None if asked.displayName is UNSET else asked.displayName,
        selection=AuthenticatorSelection() if asked.authenticatorSelection is UNSET else asked.authenticatorSelection,
        attestation=None if asked.attestation is UNSET else asked.attestation,
        extensions={} if asked.extensions is UNSET else asked.extensions,
    )
    return await begin_registration(environment, new, authority=authority.name, requested_from=request.address)


async def registration_result(environment: Environment, request: Request) -> Registered:
    """Return what came of the credential in the body. Raises HttpProblem 401, Fido2Error, WebAuthnRefusal."""
    credential = strictjson.decode(request.body, RegistrationCredential)
    authority = await enrolling_authority(environment, request)
    try:
        return await finish_registration(environment, credential, authority=authority.name, address=request.address)
    except WebAuthnRefusal as refusal:
        _log.info("registration refused: %s: %s", refusal.rule, refusal.detail)
        raise


async def authentication_options(
    environment: Environment, request: Request, asked: Fido2OptionsRequest
) -> tuple[str, RequestOptions]:
    """Return a session id and request options. Raises Fido2Error, MalformedError, TooManyError."""
    await environment.limits.begun.spend(request.limited_as)
    _check_domain(environment, asked)
    new = NewAuthentication(
        username=None if asked.username is UNSET else asked.username,
        user_verification=None if asked.userVerification is UNSET else asked.userVerification,
        extensions={} if asked.extensions is UNSET else asked.extensions,
    )
    return await begin_authentication(environment, new, requested_from=request.address)


async def authentication_result(environment: Environment, request: Request) -> Authenticated:
    """Return who was authenticated by the assertion in the body. Raises Fido2Error, WebAuthnRefusal."""
    credential = strictjson.decode(request.body, AuthenticationCredential)
    return await finish_authentication(environment, credential, address=request.address)


def _check_domain(environment: Environment, asked: Fido2OptionsRequest) -> None:
    """Refuse a request for another relying party than this one."""
    settings = environment.config.fido2
    if asked.documentDomain is not UNSET and asked.documentDomain not in (settings.rp_id, *settings.origins):
        raise MalformedError("$.documentDomain", f"this relying party is {settings.rp_id}")


def told_too_many(error: TooManyError) -> Response:
    """Return that a limit is used up."""
    return _failed(429, str(error))._replace(headers=(retry_after(error),))


def _failed(status: int, message: str) -> Response:
    return json_response(Fido2Result(status=FAILED, errorMessage=message), status)
