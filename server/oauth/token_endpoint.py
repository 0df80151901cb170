"""The token endpoint: codes and refresh tokens against access tokens bound to a key.

RFC 6749 sections 4.1.3 and 6, RFC 9449 section 5; RFC 9700 section 4.14.2 for rotation.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from fidoloop.protocol.oauth.dpop import INVALID as INVALID_PROOF
from fidoloop.protocol.oauth.dpop import DpopProof
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import matches
from fidoloop.protocol.oauth.pkce import verify_verifier
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.authorization_server import TOKEN
from fidoloop.server.oauth.client_authentication import AuthenticatedClient, authenticate_client
from fidoloop.server.oauth.consents import end_grant
from fidoloop.server.oauth.grants import (
    Approved,
    make_tokens,
    token_hash,
)
from fidoloop.server.oauth.parameters import read_parameters, required
from fidoloop.server.oauth.proofs import UsedProof, read_proof, refuse_used, using
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Change, Value
from fidoloop.server.store.oauth_rows import Client, CodeGrant, RefreshGrant, client_of

INVALID_GRANT: Final = "invalid_grant"
_ATTEMPTS = 3


class _ReusedError(Exception):
    """A code or refresh token was used a second time; whoever has it, the grant ends."""

    def __init__(self, grant_id: str) -> None:
        super().__init__(grant_id)
        self.grant_id = grant_id


class Redemption(NamedTuple):
    """What may be issued, for which proofs, and the change that uses up the code or refresh token shown for it."""

    grant_id: str
    approved: Approved
    scope: str
    use: Change
    second: UsedProof | None
    rotated: RefreshGrant | None = None


Authenticate = Callable[[Client | None], Awaitable[AuthenticatedClient]]
"""Returns who asks; the client given was read already. Raises OAuthRefusal."""


async def serve(environment: Environment, request: Request) -> Response:
    """Answer a token request."""
    parameters = read_parameters(request)
    grant_type = required(parameters, "grant_type")
    redeem = {"authorization_code": redeem_code, "refresh_token": _refresh}.get(grant_type)
    if redeem is None:
        raise OAuthRefusal("unsupported_grant_type", "grant_type is neither authorization_code nor refresh_token")
    proof = read_proof(environment, request, TOKEN)

    async def authenticate(known: Client | None) -> AuthenticatedClient:
        return await authenticate_client(environment, environment.store, request, parameters, proof, known=known)

    return await exchange(environment, request, proof, lambda: redeem(environment, parameters, proof, authenticate))


async def exchange(
    environment: Environment, request: Request, proof: DpopProof, read: Callable[[], Awaitable[Redemption]]
) -> Response:
    """Issue what `read` has found may be issued, and use up what was shown for it and the proofs.

    All is written in one batch whose statements say what was read. Where they change nothing, what was read is no more
    so, or a proof was used before: then it is read again, to say which.

    Raises:
        OAuthRefusal: as `read` does; a proof was used before; invalid_grant, the grant revoked, where the code or
            refresh token was.
    """
    try:
        for attempt in range(_ATTEMPTS):
            granted = await read()
            if attempt:
                await refuse_used(environment.store, proof, granted.second)
            tokens, adding = make_tokens(environment, granted.grant_id, granted.approved, scope=granted.scope)
            if await environment.store.apply((granted.use, adding, using(proof, granted.second))):
                if granted.rotated is not None:
                    _remember(environment, granted.rotated, adding)
                return oauth_json(tokens)
    except _ReusedError as reused:
        async with environment.store.transaction() as transaction:
            await end_grant(transaction, reused.grant_id, "token-reused", now=environment.clock(), request=request)
        raise OAuthRefusal(INVALID_GRANT, "used before; every token that came of it is revoked") from None
    raise OAuthRefusal("server_error", "what this request relies on keeps changing")


async def redeem_code(
    environment: Environment, parameters: Mapping[str, str], proof: DpopProof, authenticate: Authenticate
) -> Redemption:
    """Return what a code may be exchanged for, by `exchange` only. Raises OAuthRefusal."""
    code_hash = token_hash(required(parameters, "code"))
    code = await environment.store.fetch_one(oauth_queries.CODE, code_hash=code_hash)
    client = await authenticate(client_of(code))
    if code is None or code.client_id != client.client.id:
        raise OAuthRefusal(INVALID_GRANT, "no such code")
    _check_grant(code, proof)
    if code.used_at is not None:
        raise _ReusedError(code.grant_id)
    if code.redirect_uri != parameters.get("redirect_uri"):
        raise OAuthRefusal(INVALID_GRANT, "redirect_uri is not the one of the authorization request")
    verify_verifier(parameters.get("code_verifier"), code.code_challenge)
    _check_previous(environment, code, client)
    now = environment.clock()
    if code.expires_at <= now:
        raise OAuthRefusal(INVALID_GRANT, "the code is expired")
    approved = _approved(code)
    _check_grants(client, approved.acr, approved.scope)
    use = Change(oauth_queries.USE_CODE, {"code_hash": code_hash, **_as_read(code), "now": now})
    return Redemption(code.grant_id, approved, code.scope, use, client.proof)


async def _refresh(
    environment: Environment, parameters: Mapping[str, str], proof: DpopProof, authenticate: Authenticate
) -> Redemption:
    its_hash = token_hash(required(parameters, "refresh_token"))
    known = environment.remembered.take_token(its_hash)
    if known is not None:
        # What is remembered may be old: nothing is refused for it, the store is asked.
        with suppress(OAuthRefusal):
            return await _check_token(environment, parameters, proof, authenticate, (its_hash, known))
    token = await environment.store.fetch_one(oauth_queries.REFRESH_TOKEN, token_hash=its_hash)
    return await _check_token(environment, parameters, proof, authenticate, (its_hash, token))


async def _check_token(
    environment: Environment,
    parameters: Mapping[str, str],
    proof: DpopProof,
    authenticate: Authenticate,
    shown: tuple[str, RefreshGrant | None],
) -> Redemption:
    its_hash, token = shown
    client = await authenticate(client_of(token))
    if token is None or token.client_id != client.client.id:
        raise OAuthRefusal(INVALID_GRANT, "no such refresh token")
    _check_grant(token, proof)
    if token.used_at is not None:
        raise _ReusedError(token.grant_id)
    scope = _narrowed(parameters.get("scope"), token.scope)
    now = environment.clock()
    if token.expires_at <= now:
        raise OAuthRefusal(INVALID_GRANT, "the refresh token is expired")
    approved = _approved(token)
    _check_grants(client, approved.acr, scope)
    use = Change(oauth_queries.USE_REFRESH_TOKEN, {"token_hash": its_hash, **_as_read(token), "now": now})
    return Redemption(token.grant_id, approved, scope, use, client.proof, token)


def _remember(environment: Environment, rotated: RefreshGrant, adding: Change) -> None:
    """Remember the refresh token that followed another, for the next request."""
    made = adding.parameters
    environment.remembered.token_issued(
        str(made["refresh_hash"]),
        msgspec.structs.replace(
            rotated,
            scope=rotated.grant_scope,
            issued_at=made["now"],
            expires_at=made["refresh_expires_at"],
        ),
    )


def _as_read(found: CodeGrant | RefreshGrant) -> dict[str, Value]:
    """Return what a code or refresh token was found with and is used up by."""
    return {
        "grant_id": found.grant_id,
        "username": found.username,
        "client_id": found.client_id,
        "client_jwk": found.client_jwk,
        "client_auth_method": found.client_auth_method,
        "client_device": found.client_device,
    }


def _check_grant(found: CodeGrant | RefreshGrant, proof: DpopProof) -> None:
    """Check what a code or refresh token was bound to, and that what it came of is still so."""
    if found.revoked_at is not None or found.owner_disabled_at is not None:
        raise OAuthRefusal(INVALID_GRANT, "revoked")
    if found.jkt != proof.thumbprint:
        raise OAuthRefusal(INVALID_PROOF, "the proof is by another key than the one that this is bound to")


def _check_previous(environment: Environment, code: CodeGrant, client: AuthenticatedClient) -> None:
    """Compare the hash of the request that the code answered, where the proof names one (OAuth contract 2.4)."""
    if client.previous is None:
        if environment.config.oauth.prev_msg_required:
            raise OAuthRefusal("invalid_client_attestation", "prev_msg is missing")
        return
    if code.message_hash is None or not matches(
        client.previous,
        of=code.message_of,  # type: ignore[arg-type]
        expected_hash=code.message_hash,
    ):
        raise OAuthRefusal("invalid_client_attestation", "prev_msg is not the hash of the request before this one")


def _check_grants(client: AuthenticatedClient, acr: str, scope: str) -> None:
    """Hold what is about to be issued against the device policy, which may have changed since."""
    if acr not in client.grants.acr:
        raise OAuthRefusal("insufficient_authorization", "the device policy does not allow this acr any more")
    if not set(scope.split()) <= set(client.grants.scopes):
        raise OAuthRefusal("invalid_scope", "the device policy does not allow this scope")


def _narrowed(wanted: str | None, whole: str) -> str:
    if wanted is None:
        return whole
    if not set(wanted.split()) <= set(whole.split()):
        raise OAuthRefusal("invalid_scope", "scope exceeds what was granted")
    return " ".join(wanted.split())


def _approved(found: CodeGrant | RefreshGrant) -> Approved:
    return Approved(
        client_id=found.client_id,
        username=found.username,
        scope=found.scope if isinstance(found, CodeGrant) else found.grant_scope,
        acr=found.acr,
        auth_time=found.auth_time,
        jkt=found.jkt,
        nonce=found.nonce,
    )
