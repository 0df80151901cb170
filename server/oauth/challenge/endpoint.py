"""The authorization challenge endpoint: steps until a person is authenticated as asked, then a code.

OAuth 2.0 for First-Party Applications section 5; OAuth contract 1 for the FIDO profile and both dialects.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.client_metadata import ClientMetadata
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import message_hash
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.http.problems import retry_after
from fidoloop.server.oauth.answers import TOO_MANY, OAuthError, oauth_json
from fidoloop.server.oauth.authorization.pushed import PushedRequest
from fidoloop.server.oauth.challenge import fido2_step, uaf_step, web_step
from fidoloop.server.oauth.challenge.sessions import (
    change_session,
    find_session,
    named_session,
    open_session,
)
from fidoloop.server.oauth.client_authentication import AuthenticatedClient, authenticate_client
from fidoloop.server.oauth.grants import Approved, add_code, token_hash
from fidoloop.server.oauth.parameters import media_type_of, read_parameters
from fidoloop.server.oauth.passwords import WRONG as WRONG_PASSWORD
from fidoloop.server.oauth.passwords import check_password
from fidoloop.server.oauth.proofs import read_proof, use_proofs
from fidoloop.server.rate_limits import TooManyError
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.oauth_rows import AuthSession

MORE: Final = "insufficient_authorization"
MORE_OLD: Final = "authorization_required"
OLD_DIALECT: Final = "native-apps-00"
ENROL: Final = "pw-enroll"
_PROOFS = ("uaf_response", "assertion_result_request", "attestation_result_request", "fido2_token")


class ChallengeAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Success: the code, and a session for a step-up later."""

    authorization_code: str
    auth_session: str | UnsetType = UNSET
    device_session: str | UnsetType = UNSET


class MoreNeeded(OAuthError, frozen=True, omit_defaults=True):
    """A further step is needed: what is to be signed, and the session that it belongs to; or a browser."""

    auth_session: str | UnsetType = UNSET
    device_session: str | UnsetType = UNSET
    acr_values: str | UnsetType = UNSET
    fido2_options: dict[str, Any] | UnsetType = UNSET
    uaf_request: str | UnsetType = UNSET
    request_uri: str | UnsetType = UNSET
    expires_in: int | UnsetType = UNSET


class _Attempt(NamedTuple):
    """One request: its session's text and row, its client, which dialect is spoken, its hash."""

    text: str
    session: AuthSession
    client: AuthenticatedClient
    old: bool
    hash: str

    def member(self, text: str) -> dict[str, Any]:
        """Return a session as the member that the dialect names it by."""
        return {"device_session" if self.old else "auth_session": text}


async def serve(environment: Environment, request: Request) -> Response:
    """Take one step."""
    parameters = read_parameters(request, json_allowed=True)
    if parameters.get("response_type", "code") != "code":
        raise OAuthRefusal("unsupported_response_type", "response_type is code")
    proving = any(name in parameters for name in _PROOFS)
    if not proving:
        await environment.limits.begun.spend(request.limited_as)
    attempt = await _attempt(environment, request, parameters)
    if isinstance(attempt, MoreNeeded):
        return oauth_json(attempt, 400)
    try:
        if proving:
            username = await _proved(environment, request, parameters, attempt.session)
            return await _granted(environment, attempt, parameters, username)
        return await _next_step(environment, request, parameters, attempt)
    except OAuthRefusal as refusal:
        if refusal.code in (uaf_step.DENIED, WRONG_PASSWORD):
            await environment.store.execute(oauth_queries.COUNT_TRY, session_hash=attempt.session.session_hash)
        answer = MoreNeeded(refusal.code, refusal.what, **attempt.member(attempt.text))
        return oauth_json(answer, 403 if refusal.code == uaf_step.DENIED else 400)
    except TooManyError as error:
        answer = MoreNeeded(TOO_MANY, str(error), **attempt.member(attempt.text))
        return oauth_json(answer, 429, (retry_after(error),))


async def _attempt(environment: Environment, request: Request, parameters: Mapping[str, str]) -> _Attempt | MoreNeeded:
    """Check client, key and session, before anything is said about a person; there is no session for a browser."""
    proof = read_proof(environment, request, request.path.rstrip("/"))
    if parameters.get("dpop_jkt", proof.thumbprint) != proof.thumbprint:
        raise OAuthRefusal("invalid_dpop_proof", "dpop_jkt is not the thumbprint of the proof's key")
    uri = environment.authorization_server.uri(request.path.rstrip("/"))
    sent = message_hash(request.method, uri, media_type_of(request), request.body)
    found: MoreNeeded | tuple[str, AuthSession]
    async with environment.store.transaction() as transaction:
        client = await authenticate_client(environment, transaction, request, parameters, proof)
        if web_step.is_for_web(environment, parameters, client):
            pushed = await web_step.push_for_web(
                environment, transaction, parameters, client, jkt=proof.thumbprint, message=("authz-challenge", sent)
            )
            found = _redirect_to_web(pushed)
        else:
            found = await _session(environment, transaction, parameters, client, proof.thumbprint)
        await use_proofs(transaction, proof, client.proof)
    if isinstance(found, MoreNeeded):
        return found
    metadata = strictjson.decode(client.client.metadata, ClientMetadata)
    old = metadata.fipa_dialect == OLD_DIALECT or "device_session" in parameters or "use_device_session" in parameters
    return _Attempt(*found, client, old, sent)


async def _session(
    environment: Environment,
    transaction: Transaction,
    parameters: Mapping[str, str],
    client: AuthenticatedClient,
    jkt: str,
) -> tuple[str, AuthSession]:
    """Return the session that a request names, with what it asks for anew, or a fresh one."""
    text = named_session(parameters)
    if text is None:
        return await open_session(environment, transaction, parameters, client, jkt)
    row = await find_session(environment, transaction, text, client.client.id, jkt)
    return text, await change_session(transaction, row, parameters, client)


def _redirect_to_web(pushed: PushedRequest | None) -> MoreNeeded:
    answer = MoreNeeded("redirect_to_web", "this needs a browser: begin at the authorization endpoint")
    if pushed is None:
        return answer
    return msgspec.structs.replace(answer, request_uri=pushed.request_uri, expires_in=pushed.expires_in)


async def _next_step(
    environment: Environment, request: Request, parameters: Mapping[str, str], attempt: _Attempt
) -> Response:
    """Answer with what is to be signed, or for an enrolment ask for the password first."""
    session = attempt.session
    members: dict[str, Any] = {}
    if session.acr == ENROL:
        username, password = parameters.get("username"), parameters.get("password")
        if username is None:
            raise OAuthRefusal("username_required", "username is missing")
        if password is None:
            raise OAuthRefusal("password_required", "password is missing")
        await check_password(environment, username, password)
        step, members["uaf_request"] = await uaf_step.begin(environment, "Reg", username, address=request.address)
        members["fido2_options"] = await fido2_step.creation_options(
            environment, session, username, address=request.address
        )
    elif session.acr.startswith("uaf"):
        username = session.username
        step, members["uaf_request"] = await uaf_step.begin(environment, "Auth", username, address=request.address)
    else:
        username, step = session.username, "fido2"
        members["fido2_options"] = await fido2_step.request_options(environment, session, address=request.address)
    await environment.store.execute(
        oauth_queries.SET_STEP, session_hash=session.session_hash, step=step, username=username
    )
    answer = MoreNeeded(
        MORE_OLD if attempt.old else MORE,
        "a further step is needed",
        acr_values=session.acr,
        **attempt.member(attempt.text),
        **members,
    )
    return oauth_json(answer, 403)


async def _proved(
    environment: Environment, request: Request, parameters: Mapping[str, str], session: AuthSession
) -> str:
    """Return who proved to be whom, by what the session's acr asks for.

    Raises:
        OAuthRefusal: access_denied, or invalid_request where another step is due.
    """
    given = [name for name in _PROOFS if name in parameters]
    if len(given) != 1 or session.step is None:
        raise OAuthRefusal("invalid_request", "one proof for the step that was begun is needed")
    address, text = request.address, parameters[given[0]]
    hardware = True
    if given[0] == "uaf_response" and session.acr in (ENROL, "uaf", "uaf-hw"):
        op = "Reg" if session.acr == ENROL else "Auth"
        username, keys = await uaf_step.finish(environment, request, op, session.step, text)  # type: ignore[arg-type]
        if session.acr == "uaf-hw":
            hardware = await uaf_step.in_hardware(environment, username, keys)
    elif given[0] == "attestation_result_request" and session.acr == ENROL:
        username = (await fido2_step.finish_creation(environment, session, text, address=address)).username
    elif given[0] in ("assertion_result_request", "fido2_token") and session.acr in ("fido2", "fido2-hw"):
        found = (
            await fido2_step.finish_assertion(environment, session, text, address=address)
            if given[0] == "assertion_result_request"
            else await _of_token(environment, session, text)
        )
        username = found.username
        if session.acr == "fido2-hw":
            hardware = await fido2_step.in_hardware(environment, found.credential_id)
    else:
        raise OAuthRefusal("invalid_request", f"{given[0]} is no proof for acr {session.acr}")
    if not hardware:
        raise OAuthRefusal("access_denied", "nobody vouches for the hardware of that key")
    if session.username is not None and session.username != username:
        raise OAuthRefusal("access_denied", "the session is another person's")
    named = parameters.get("username")
    if named is not None and named != username:
        raise OAuthRefusal("access_denied", "the proof is another person's")
    return username


async def _of_token(environment: Environment, session: AuthSession, text: str) -> fido2_step.Authenticated:
    async with environment.store.transaction() as transaction:
        found = await transaction.fetch_one(
            oauth_queries.USE_FIDO2_TOKEN,
            token_hash=token_hash(text),
            session_hash=session.session_hash,
            jkt=session.jkt,
            now=environment.clock(),
        )
    if found is None:
        raise OAuthRefusal("access_denied", "the fido2_token is unknown, used, expired, or of another session or key")
    return fido2_step.Authenticated(found.username, found.credential_id)


async def _granted(
    environment: Environment, attempt: _Attempt, parameters: Mapping[str, str], username: str
) -> Response:
    """Use up the session, and answer with a code and a fresh session of the same person."""
    session, now = attempt.session, environment.clock()
    approved = Approved(
        client_id=session.client_id,
        username=username,
        scope=session.scope,
        acr=session.acr,
        auth_time=now // 1000,
        jkt=session.jkt,
        nonce=session.nonce,
    )
    async with environment.store.transaction() as transaction:
        used = await transaction.fetch_one(oauth_queries.USE_SESSION, session_hash=session.session_hash, now=now)
        if used is None:
            raise OAuthRefusal("invalid_session", "the session is used or expired")
        code = await add_code(
            environment,
            transaction,
            approved,
            code_challenge=session.code_challenge,
            message=("authz-challenge", attempt.hash),
        )
        again = {"acr_values": session.acr, "scope": session.scope}
        fresh, _ = await open_session(environment, transaction, again, attempt.client, session.jkt, username=username)
    return oauth_json(ChallengeAnswer(code, **attempt.member(fresh)))
