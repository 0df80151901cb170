"""FIDO2 inside an auth_session: ceremonies whose authority is that session, so that nobody else can answer them."""

from typing import Any, Final, NamedTuple

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.webauthn.messages import AuthenticationCredential, RegistrationCredential
from fidoloop.protocol.webauthn.refusal import WebAuthnRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.fido2.authentication import NewAuthentication, begin_authentication, finish_authentication
from fidoloop.server.fido2.errors import Fido2Error
from fidoloop.server.fido2.registration import NewRegistration, begin_registration, finish_registration
from fidoloop.server.store import fido2_queries
from fidoloop.server.store.oauth_rows import AuthSession

DENIED: Final = "access_denied"


class Authenticated(NamedTuple):
    """Who was authenticated by which credential."""

    username: str
    credential_id: str


async def creation_options(environment: Environment, session: AuthSession, username: str, *, address: str) -> Any:  # noqa: ANN401 - JSON
    """Return the options for a new credential of the user whose password was right."""
    try:
        _, options = await begin_registration(
            environment,
            NewRegistration(username=username),
            authority=_authority(session),
            requested_from=address,
        )
    except Fido2Error as error:
        raise OAuthRefusal(DENIED, str(error)) from None
    return msgspec.to_builtins(options)


async def request_options(environment: Environment, session: AuthSession, *, address: str) -> Any:  # noqa: ANN401 - JSON
    """Return the options for an assertion by whoever has a credential, or by the session's user."""
    _, options = await begin_authentication(
        environment,
        NewAuthentication(username=session.username, user_verification="required"),
        requested_from=address,
        authority=_authority(session),
    )
    return msgspec.to_builtins(options)


async def finish_creation(environment: Environment, session: AuthSession, text: str, *, address: str) -> Authenticated:
    """Verify what create() gave, the JSON text of a PublicKeyCredential. Raises OAuthRefusal: access_denied."""
    try:
        credential = strictjson.decode(text, RegistrationCredential)
        found = await finish_registration(environment, credential, authority=_authority(session), address=address)
    except (MalformedError, WebAuthnRefusal, Fido2Error) as error:
        raise OAuthRefusal(DENIED, str(error)) from None
    return Authenticated(found.username, found.credential.id)


async def finish_assertion(environment: Environment, session: AuthSession, text: str, *, address: str) -> Authenticated:
    """Verify what get() gave, the JSON text of a PublicKeyCredential. Raises OAuthRefusal: access_denied."""
    try:
        credential = strictjson.decode(text, AuthenticationCredential)
        found = await finish_authentication(environment, credential, address=address, authority=_authority(session))
    except (MalformedError, WebAuthnRefusal, Fido2Error) as error:
        raise OAuthRefusal(DENIED, str(error)) from None
    return Authenticated(found.username, found.credential_id)


async def in_hardware(environment: Environment, credential_id: str) -> bool:
    """Tell whether somebody who is trusted vouched for the credential's authenticator when it was made."""
    found = await environment.store.fetch_one(
        fido2_queries.CREDENTIAL, id=credential_id, rp_id=environment.config.fido2.rp_id
    )
    return found is not None and bool(found.trusted)


def _authority(session: AuthSession) -> str:
    return f"auth_session:{session.session_hash}"
