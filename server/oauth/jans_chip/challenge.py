"""The authorization challenge as the app asks it: a password opens an enrolment, an assertion logs in."""

from collections.abc import Mapping
from typing import Final

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.device_facts import DeviceFacts
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.webauthn.messages import AuthenticationCredential
from fidoloop.protocol.webauthn.refusal import WebAuthnRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.fido2.authentication import finish_authentication
from fidoloop.server.fido2.errors import Fido2Error
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import OAuthError, oauth_json
from fidoloop.server.oauth.challenge import endpoint as strict
from fidoloop.server.oauth.challenge.endpoint import ChallengeAnswer
from fidoloop.server.oauth.grants import Approved, add_code
from fidoloop.server.oauth.jans_chip import enrolment
from fidoloop.server.oauth.jans_chip.profile import find_client, granted, scope_of
from fidoloop.server.oauth.parameters import INVALID, read_parameters, required
from fidoloop.server.oauth.passwords import check_password
from fidoloop.server.store.oauth_rows import Client

ACR: Final = "passkey"


async def serve(environment: Environment, request: Request) -> Response:
    """Answer the app with a code; any other client is answered as everywhere."""
    parameters = read_parameters(request, json_allowed=True)
    client = await find_client(environment.store, parameters.get("client_id", ""))
    if client is None:
        return await strict.serve(environment, request)
    await environment.limits.begun.spend(request.limited_as)
    try:
        return await _served(environment, request, parameters, client)
    except OAuthRefusal as refusal:
        return oauth_json(OAuthError(refusal.code, refusal.what), 401)


async def _served(
    environment: Environment, request: Request, parameters: Mapping[str, str], client: Client
) -> Response:
    if parameters.get("acr_values") != ACR:
        raise OAuthRefusal("unmet_authentication_requirements", f"acr_values is {ACR}")
    facts = strictjson.decode(client.device, DeviceFacts)
    _, grants = granted(environment, facts, client.created_at)
    method = required(parameters, "auth_method")
    if method == "enroll":
        username, acr = await _by_password(environment, request, parameters, client), enrolment.ACR
    elif method == "authenticate":
        username, acr = await _by_assertion(environment, request, parameters), "fido2"
    else:
        raise OAuthRefusal(INVALID, "auth_method is enroll or authenticate")
    now = environment.clock()
    approved = Approved(
        client_id=client.id,
        username=username,
        scope=scope_of(client, grants),
        acr=acr,
        auth_time=now // 1000,
        jkt=client.jkt,
        nonce=parameters.get("nonce"),
    )
    async with environment.store.transaction() as transaction:
        code = await add_code(environment, transaction, approved, redirect_uri=environment.authorization_server.issuer)
    return oauth_json(ChallengeAnswer(code))


async def _by_password(
    environment: Environment, request: Request, parameters: Mapping[str, str], client: Client
) -> str:
    """Return whose password is right; for two minutes he may register one credential from this address."""
    for name in ("username", "password"):
        if name not in parameters:
            raise OAuthRefusal(f"{name}_required", f"{name} is missing")
    username = parameters["username"]
    await check_password(environment, username, parameters["password"])
    await enrolment.open_enrolment(environment, client, username, request.address)
    return username


async def _by_assertion(environment: Environment, request: Request, parameters: Mapping[str, str]) -> str:
    """Return who signed, for options of the FIDO2 service."""
    text = required(parameters, "assertion_result_request")
    try:
        credential = strictjson.decode(text, AuthenticationCredential)
        found = await finish_authentication(environment, credential, address=request.address)
    except (MalformedError, WebAuthnRefusal, Fido2Error) as error:
        raise OAuthRefusal("access_denied", str(error)) from None
    if not found.user_verified:
        raise OAuthRefusal("access_denied", "the user was not verified")
    if parameters.get("username", found.username) != found.username:
        raise OAuthRefusal("access_denied", "the passkey is another person's")
    return found.username
