"""The token, userinfo and revocation endpoints as the app uses them."""

import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from fidoloop.protocol.oauth.dpop import DpopProof, verify_dpop_proof
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import JSON, Request, Response
from fidoloop.server.oauth.answers import NO_STORE, oauth_json
from fidoloop.server.oauth.client_authentication import AuthenticatedClient
from fidoloop.server.oauth.consents import end_grant
from fidoloop.server.oauth.grants import ACCESS, token_hash
from fidoloop.server.oauth.jans_chip.profile import TOKEN, authenticate, find_client
from fidoloop.server.oauth.parameters import INVALID, read_parameters, required
from fidoloop.server.oauth.proofs import HEADER
from fidoloop.server.oauth.token_endpoint import exchange, redeem_code
from fidoloop.server.oauth.token_state import is_good
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.oauth_rows import Client, TokenGrant

OPENID: Final = "openid"


class UserInfo(msgspec.Struct, frozen=True):
    """Who is logged in (OpenID Connect Core 5.3.2)."""

    sub: str
    preferred_username: str
    acr: str


async def token(environment: Environment, request: Request) -> Response:
    """Answer a token request: a code by secret and proof, whose htu may be the issuer."""
    parameters = read_parameters(request)
    if required(parameters, "grant_type") != "authorization_code":
        raise OAuthRefusal("unsupported_grant_type", "grant_type is authorization_code")
    proof = _proof(environment, request)

    async def authenticated(_: Client | None) -> AuthenticatedClient:
        return await authenticate(environment, environment.store, request, parameters)

    return await exchange(
        environment, request, proof, lambda: redeem_code(environment, parameters, proof, authenticated)
    )


async def userinfo(environment: Environment, request: Request) -> Response:
    """Answer who is logged in: for bearer tokens of the app alone, which are looked up each time."""
    parameters = read_parameters(request)
    found = await environment.store.fetch_one(oauth_queries.TOKEN, token_hash=token_hash(_bearer(request, parameters)))
    if found is None or not await _is_the_apps(environment, found):
        return Response(401, b'{"error":"invalid_token"}', JSON, (NO_STORE,))
    return oauth_json(UserInfo(found.username, found.username, found.acr))


async def revoke(environment: Environment, request: Request) -> Response:
    """Log out: all that came of the grant of a token of this client ends."""
    parameters = read_parameters(request)
    its_hash = token_hash(required(parameters, "token"))
    async with environment.store.transaction() as transaction:
        client = await authenticate(environment, transaction, request, parameters)
        found = await transaction.fetch_one(oauth_queries.TOKEN, token_hash=its_hash)
        if found is not None and found.client_id == client.client.id:
            await end_grant(transaction, found.grant_id, "tokens-revoked", now=environment.clock(), request=request)
    return oauth_json({})


async def _is_the_apps(environment: Environment, found: TokenGrant) -> bool:
    """Tell whether a token is good, of a client of this profile, for openid."""
    good = found.kind == ACCESS and is_good(found, now=environment.clock())
    return good and OPENID in found.scope.split() and await find_client(environment.store, found.client_id) is not None


def _bearer(request: Request, parameters: Mapping[str, str]) -> str:
    """Return the token, which the app sends in header and body alike."""
    fields = request.fields(b"authorization")
    scheme, _, shown = (fields[0] if len(fields) == 1 else "").partition(" ")
    if scheme.lower() != "bearer" or not shown.strip():
        raise OAuthRefusal(INVALID, "a bearer token is needed")
    if not hmac.compare_digest(parameters.get("access_token", shown).encode(), shown.encode("latin-1")):
        raise OAuthRefusal(INVALID, "two different access tokens")
    return shown


def _proof(environment: Environment, request: Request) -> DpopProof:
    """Return the proof, for this endpoint or for the issuer, without a nonce. Raises OAuthRefusal."""
    server = environment.authorization_server
    refused = OAuthRefusal("invalid_dpop_proof", "no DPoP proof")
    for uri in (server.issuer, server.uri(TOKEN)):
        try:
            return verify_dpop_proof(
                request.fields(HEADER),
                expected_method=request.method,
                expected_uri=uri,
                now=environment.clock() // 1000,
                is_nonce=None,
            )
        except OAuthRefusal as refusal:
            refused = refusal
    raise refused
