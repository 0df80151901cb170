"""What is known of a token: introspection for resources (RFC 7662), revocation for clients (RFC 7009)."""

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.access_tokens import KeyConfirmation
from fidoloop.protocol.oauth.device_facts import DeviceFacts
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.credentials import is_authorized
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.authorization_server import REVOKE
from fidoloop.server.oauth.client_authentication import authenticate_client
from fidoloop.server.oauth.consents import end_grant
from fidoloop.server.oauth.grants import ACCESS, REFRESH, token_hash
from fidoloop.server.oauth.parameters import read_parameters, required
from fidoloop.server.oauth.proofs import HEADER, read_proof, use_proofs
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.oauth_rows import TokenGrant


class Introspection(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a resource is told of a token; of one that is not good, that alone.

    `device` is what the client's device was when it registered: no serial number, which would let it be followed.
    """

    active: bool
    scope: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    username: str | UnsetType = UNSET
    token_type: str | UnsetType = UNSET
    exp: int | UnsetType = UNSET
    iat: int | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    aud: str | UnsetType = UNSET
    iss: str | UnsetType = UNSET
    cnf: KeyConfirmation | UnsetType = UNSET
    acr: str | UnsetType = UNSET
    auth_time: int | UnsetType = UNSET
    device: DeviceFacts | UnsetType = UNSET


async def introspect(environment: Environment, request: Request) -> Response:
    """Answer a resource, which shows an API credential."""
    if not await is_authorized(environment.store, request.headers.get(b"authorization")):
        await environment.limits.requests.spend(request.limited_as)
        raise OAuthRefusal("invalid_client", "an API credential is needed")
    token = await environment.store.fetch_one(
        oauth_queries.TOKEN_OF_DEVICE, token_hash=token_hash(required(read_parameters(request), "token"))
    )
    now = environment.clock()
    if token is None or token.kind != ACCESS or not is_good(token, now=now):
        return oauth_json(Introspection(active=False))
    server = environment.authorization_server
    return oauth_json(
        Introspection(
            active=True,
            scope=token.scope,
            client_id=token.client_id,
            username=token.username,
            token_type="DPoP",  # noqa: S106 - a kind of token
            exp=token.expires_at // 1000,
            iat=token.issued_at // 1000,
            sub=token.username,
            aud=server.resource,
            iss=server.issuer,
            cnf=KeyConfirmation(token.jkt),
            acr=token.acr,
            auth_time=token.auth_time,
            device=strictjson.decode(token.device, DeviceFacts),
        )
    )


async def revoke(environment: Environment, request: Request) -> Response:
    """Revoke a client's own token: a refresh token with all that came of its grant, an access token alone."""
    parameters = read_parameters(request)
    its_hash = token_hash(required(parameters, "token"))
    proof = read_proof(environment, request, REVOKE) if request.fields(HEADER) else None
    now = environment.clock()
    async with environment.store.transaction() as transaction:
        client = await authenticate_client(environment, transaction, request, parameters, proof)
        token = await transaction.fetch_one(oauth_queries.TOKEN, token_hash=its_hash)
        if token is not None and token.client_id == client.client.id:
            if token.kind == REFRESH:
                await end_grant(transaction, token.grant_id, "tokens-revoked", now=now, request=request)
            else:
                await transaction.execute(oauth_queries.REMOVE_TOKEN, token_hash=its_hash)
        await use_proofs(transaction, proof, client.proof)
    return oauth_json({})


def is_good(token: TokenGrant, *, now: int) -> bool:
    """Tell whether a token is good at `now` (epoch milliseconds): itself, its grant, its client and its owner."""
    ended = (token.used_at, token.revoked_at, token.client_revoked_at, token.owner_disabled_at)
    return token.expires_at > now and all(at is None for at in ended)
