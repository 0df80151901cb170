"""The token endpoint: codes and refresh tokens against access tokens bound to a key.

RFC 6749 sections 4.1.3 and 6, RFC 9449 section 5; RFC 9700 section 4.14.2 for rotation.
"""

from collections.abc import Mapping
from typing import Final

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
    REFRESH,
    Approved,
    TokenResponse,
    issue_tokens,
    token_hash,
)
from fidoloop.server.oauth.parameters import read_parameters, required
from fidoloop.server.oauth.proofs import read_proof, use_proofs
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Transaction
from fidoloop.server.store.oauth_rows import CodeGrant, TokenGrant

INVALID_GRANT: Final = "invalid_grant"


class ReusedError(Exception):
    """A code or refresh token was used a second time; whoever has it, the grant ends."""

    def __init__(self, grant_id: str) -> None:
        super().__init__(grant_id)
        self.grant_id = grant_id


async def serve(environment: Environment, request: Request) -> Response:
    """Answer a token request."""
    parameters = read_parameters(request)
    grant_type = required(parameters, "grant_type")
    redeem = {"authorization_code": redeem_code, "refresh_token": _refresh}.get(grant_type)
    if redeem is None:
        raise OAuthRefusal("unsupported_grant_type", "grant_type is neither authorization_code nor refresh_token")
    proof = read_proof(environment, request, TOKEN)
    try:
        async with environment.store.transaction() as transaction:
            client = await authenticate_client(environment, transaction, request, parameters, proof)
            tokens = await redeem(environment, transaction, parameters, client, proof)
            await use_proofs(transaction, proof, client.proof)
    except ReusedError as reused:
        raise await end_reused(environment, request, reused) from None
    return oauth_json(tokens)


async def end_reused(environment: Environment, request: Request, reused: ReusedError) -> OAuthRefusal:
    """End the grant of what was used a second time, and return the refusal."""
    async with environment.store.transaction() as transaction:
        await end_grant(transaction, reused.grant_id, "token-reused", now=environment.clock(), request=request)
    return OAuthRefusal(INVALID_GRANT, "used before; every token that came of it is revoked")


async def redeem_code(
    environment: Environment,
    transaction: Transaction,
    parameters: Mapping[str, str],
    client: AuthenticatedClient,
    proof: DpopProof,
) -> TokenResponse:
    """Return the tokens of a code; the caller uses the proofs up. Raises OAuthRefusal, ReusedError."""
    code_hash = token_hash(required(parameters, "code"))
    code = await transaction.fetch_one(oauth_queries.CODE, code_hash=code_hash)
    if code is None or code.client_id != client.client.id:
        raise OAuthRefusal(INVALID_GRANT, "no such code")
    _check_grant(code, proof)
    if code.used_at is not None:
        raise ReusedError(code.grant_id)
    if code.redirect_uri != parameters.get("redirect_uri"):
        raise OAuthRefusal(INVALID_GRANT, "redirect_uri is not the one of the authorization request")
    verify_verifier(parameters.get("code_verifier"), code.code_challenge)
    _check_previous(environment, code, client)
    now = environment.clock()
    if await transaction.fetch_one(oauth_queries.USE_CODE, code_hash=code_hash, now=now) is None:
        raise OAuthRefusal(INVALID_GRANT, "the code is expired")
    approved = _approved(code)
    _check_grants(client, approved.acr, approved.scope)
    return await issue_tokens(environment, transaction, code.grant_id, approved, scope=code.scope)


async def _refresh(
    environment: Environment,
    transaction: Transaction,
    parameters: Mapping[str, str],
    client: AuthenticatedClient,
    proof: DpopProof,
) -> TokenResponse:
    its_hash = token_hash(required(parameters, "refresh_token"))
    token = await transaction.fetch_one(oauth_queries.TOKEN, token_hash=its_hash)
    if token is None or token.kind != REFRESH or token.client_id != client.client.id:
        raise OAuthRefusal(INVALID_GRANT, "no such refresh token")
    _check_grant(token, proof)
    if token.used_at is not None:
        raise ReusedError(token.grant_id)
    scope = _narrowed(parameters.get("scope"), token.scope)
    if (
        await transaction.fetch_one(oauth_queries.USE_REFRESH_TOKEN, token_hash=its_hash, now=environment.clock())
        is None
    ):
        raise OAuthRefusal(INVALID_GRANT, "the refresh token is expired")
    approved = _approved(token)
    _check_grants(client, approved.acr, scope)
    return await issue_tokens(environment, transaction, token.grant_id, approved, scope=scope)


def _check_grant(found: CodeGrant | TokenGrant, proof: DpopProof) -> None:
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


def _approved(found: CodeGrant | TokenGrant) -> Approved:
    return Approved(
        client_id=found.client_id,
        username=found.username,
        scope=found.scope if isinstance(found, CodeGrant) else found.grant_scope,
        acr=found.acr,
        auth_time=found.auth_time,
        jkt=found.jkt,
        nonce=found.nonce,
    )
