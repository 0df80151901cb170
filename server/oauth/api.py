"""The protected API: who am I, and something that only hardware may ask for."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth import dpop
from fidoloop.protocol.oauth.access_tokens import AccessTokenClaims, KeyConfirmation
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import JSON, Request, Response, json_response
from fidoloop.server.oauth.answers import NO_STORE, oauth_json
from fidoloop.server.oauth.authorization_server import API, JWKS
from fidoloop.server.oauth.grants import ACCESS, token_hash
from fidoloop.server.oauth.resource import (
    INVALID_TOKEN,
    AccessRefusal,
    Demand,
    Resource,
    check_access,
    jwt_reader,
    nonce_headers,
)
from fidoloop.server.oauth.token_state import is_good
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Change, Value

METADATA_PATH: Final = f"/.well-known/oauth-protected-resource{API}"
WHOAMI: Final = f"{API}/whoami"
SIGN_DEMO: Final = f"{API}/sign-demo"
SCOPE: Final = "api"
HARDWARE_ACR: Final = ("fido2-hw", "uaf-hw")


class WhoAmI(msgspec.Struct, frozen=True):
    """Who called, by which client and authentication, with which key."""

    username: str
    client_id: str
    scope: str
    acr: str
    cnf: KeyConfirmation


class SignDemo(msgspec.Struct, frozen=True):
    """A text to be signed for whoever asks."""

    text: Annotated[str, Meta(min_length=1, max_length=200)]


class Signed(msgspec.Struct, frozen=True):
    """The text, signed by this server's key in the name of the caller."""

    jws: str


async def serve_whoami(environment: Environment, request: Request) -> Response:
    """Answer who calls."""

    def answer(claims: AccessTokenClaims) -> Response:
        return oauth_json(WhoAmI(claims.sub, claims.client_id, claims.scope, claims.acr or "", claims.cnf))

    return await _answered(environment, request, Demand((SCOPE,)), answer)


async def serve_sign_demo(environment: Environment, request: Request) -> Response:
    """Sign a text; only for an authentication whose hardware somebody vouches for."""

    def answer(claims: AccessTokenClaims) -> Response:
        wanted = strictjson.decode(request.body, SignDemo)
        now = environment.clock()
        key = environment.authorization_server.signing.signing_key(now)
        said = {"sub": claims.sub, "text": wanted.text, "iat": now // 1000}
        header = {"typ": "sign-demo+jwt", "kid": key.kid}
        return oauth_json(Signed(jose.sign_compact(strictjson.encode(said).encode("utf-8"), key.key, header)))

    return await _answered(environment, request, Demand((SCOPE,), HARDWARE_ACR), answer)


async def serve_metadata(environment: Environment, request: Request) -> Response:
    """Answer with the resource's metadata (RFC 9728)."""
    server = environment.authorization_server
    found: dict[str, Any] = {
        "resource": server.resource,
        "authorization_servers": [server.issuer],
        "jwks_uri": server.uri(JWKS),
        "scopes_supported": [SCOPE],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "dpop_bound_access_tokens_required": True,
    }
    return json_response(found)


async def _answered(environment: Environment, request: Request, demand: Demand, answer: Any) -> Response:  # noqa: ANN401
    resource = _resource(environment)
    fresh = tuple(nonce_headers(resource))
    try:
        claims = await check_access(
            resource,
            method=request.method,
            path=request.path.rstrip("/"),
            fields=request.fields,
            demand=demand,
        )
        response: Response = answer(claims)
    except AccessRefusal as refusal:
        headers = (NO_STORE, (b"www-authenticate", refusal.challenge.encode("latin-1")), *fresh)
        return Response(refusal.status, refusal.body, JSON, headers)
    except MalformedError as error:
        raised = AccessRefusal(400, "invalid_request", str(error))
        return Response(400, raised.body, JSON, (NO_STORE, *fresh))
    return response._replace(headers=(*response.headers, *fresh))


def _resource(environment: Environment) -> Resource:
    server = environment.authorization_server
    server.refresh(environment.clock())

    def clock() -> int:
        return environment.clock() // 1000

    async def read_opaque(token: str) -> AccessTokenClaims:
        found = await environment.store.fetch_one(oauth_queries.TOKEN, token_hash=token_hash(token))
        if found is None or found.kind != ACCESS or not is_good(found, now=environment.clock()):
            raise OAuthRefusal(INVALID_TOKEN, "the token is unknown, expired or revoked")
        return AccessTokenClaims(
            iss=server.issuer,
            sub=found.username,
            aud=server.resource,
            client_id=found.client_id,
            exp=found.expires_at // 1000,
            iat=found.issued_at // 1000,
            jti="",
            scope=found.scope,
            cnf=KeyConfirmation(found.jkt),
            acr=found.acr,
            auth_time=found.auth_time,
        )

    is_jwt = server.settings.access_token_format == "jwt"  # noqa: S105 - a format
    reader = jwt_reader(server.signing.public_keys, issuer=server.issuer, audience=server.resource, clock=clock)
    return Resource(
        origin=server.issuer,
        read_token=reader if is_jwt else read_opaque,
        replay=_StoredReplay(environment),
        clock=clock,
        nonces=server.resource_nonces if server.settings.dpop_nonces else None,
    )


class _StoredReplay:
    """Proofs remembered in the store, so that every process of this server knows them."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    async def use(self, replay_key: str, expires_at: int) -> bool:
        parameters: dict[str, Value] = {"replay_key": f"rs|{replay_key}", "expires_at": 1000 * expires_at}
        return await self._environment.store.apply((Change(oauth_queries.ADD_PROOF, parameters),))
