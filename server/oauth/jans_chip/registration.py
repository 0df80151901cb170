"""Registration of the app: a publisher's statement, and evidence that it signs itself (OAuth contract 3.3)."""

import secrets
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.evidence.values import Tier
from fidoloop.protocol.oauth.client_metadata import INVALID, ClientMetadata, JwkSet, Text, Texts
from fidoloop.protocol.oauth.device_facts import DeviceFacts
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.software_statement import verify_software_statement
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.evidence import BAD
from fidoloop.server.oauth.grants import token_hash
from fidoloop.server.oauth.jans_chip.profile import AUTH_METHOD, EVIDENCE, granted
from fidoloop.server.oauth.proofs import use_proof
from fidoloop.server.store import oauth_queries

TYPE: Final = "jwt"
ALGORITHMS: Final = ("RS256",)
SECONDS_PAST: Final = 300
SECONDS_FUTURE: Final = 10
_STATEMENT_SECONDS: Final = 10 * 366 * 24 * 3600


class ChipRegistration(msgspec.Struct, frozen=True):
    """What the app sends, as far as it is heeded; its keys are a JSON text in JSON."""

    client_name: Text
    jwks: Annotated[str, Meta(max_length=8192)]
    evidence: Annotated[str, Meta(max_length=16384)]
    software_statement: Annotated[str, Meta(max_length=8192)]
    scope: Text = ""
    redirect_uris: Texts = []


class ChipEvidence(msgspec.Struct, frozen=True):
    """What the app says of itself; nobody vouches for its checksum."""

    appName: Text
    app_id: Text
    app_checksum: Text
    iat: int
    jti: Annotated[str, Meta(min_length=1, max_length=128)]
    seq: Text = ""


class ChipClient(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: a client with a secret, which is told this once."""

    client_id: str
    client_secret: str
    client_secret_expires_at: int
    client_id_issued_at: int
    client_name: str
    scope: str
    redirect_uris: tuple[str, ...]
    response_types: tuple[str, ...]
    grant_types: tuple[str, ...]
    token_endpoint_auth_method: str
    application_type: str
    dpop_bound_access_tokens: bool


async def register(environment: Environment, request: Request) -> Response:
    """Register the app."""
    await environment.limits.begun.spend(request.limited_as)
    wanted = strictjson.decode(request.body, ChipRegistration)
    server, now = environment.authorization_server, environment.clock()
    if wanted.redirect_uris and tuple(wanted.redirect_uris) != (server.issuer,):
        raise OAuthRefusal("invalid_redirect_uri", "redirect_uris is the issuer")
    jwk = _only_key(wanted.jwks)
    said = _evidence(wanted.evidence, jwk, now // 1000)
    publishers = [jose.public_jwk(key) for key in server.software_publishers.anchors.keys]
    statement = verify_software_statement(wanted.software_statement, publishers=publishers, now=now // 1000)
    facts = DeviceFacts(EVIDENCE, Tier.UNATTESTED.value)
    rule, grants = granted(environment, facts, now)
    secret, client_id = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
    metadata = ClientMetadata(client_name=wanted.client_name, scope=wanted.scope, redirect_uris=[server.issuer])
    record = msgspec.to_builtins(facts) | {
        "rule": rule,
        "appraised_at": now,
        "secret_hash": token_hash(secret),
        "app": {"id": said.app_id, "checksum": said.app_checksum},
    }
    async with environment.store.transaction() as transaction:
        await transaction.execute(
            oauth_queries.ADD_CLIENT,
            id=client_id,
            jkt=jwk.thumbprint,
            jwk=jwk.to_json(),
            auth_method=AUTH_METHOD,
            metadata=strictjson.encode(metadata),
            device=strictjson.encode(record),
            # It is changed by nobody: registration access tokens are for those that prove their device.
            registration_token_hash="",
            now=now,
        )
        until = now // 1000 + SECONDS_PAST + SECONDS_FUTURE
        await use_proof(transaction, f"chip|{jwk.thumbprint}|{token_hash(said.jti)}", until, code=BAD)
        if statement.one_time is not None:
            key = token_hash(statement.one_time)
            await use_proof(transaction, key, now // 1000 + _STATEMENT_SECONDS, code="invalid_software_statement")
    scope = " ".join(scope for scope in wanted.scope.split() if scope in grants.scopes)
    answer = ChipClient(
        client_id=client_id,
        client_secret=secret,
        client_secret_expires_at=0,
        client_id_issued_at=now // 1000,
        client_name=wanted.client_name,
        scope=scope,
        redirect_uris=(server.issuer,),
        response_types=("code",),
        grant_types=("authorization_code",),
        token_endpoint_auth_method=AUTH_METHOD,
        application_type="native",
        dpop_bound_access_tokens=True,
    )
    return oauth_json(answer, 201)


def _only_key(text: str) -> jose.PublicJwk:
    try:
        keys = strictjson.decode(text, JwkSet, "jwks").keys
        if len(keys) != 1:
            raise MalformedError("jwks", "not exactly one key")
        return jose.parse_public_jwk(keys[0], "jwks")
    except MalformedError as error:
        raise OAuthRefusal(INVALID, str(error)) from None


def _evidence(token: str, jwk: jose.PublicJwk, now: int) -> ChipEvidence:
    """Return what the app says, signed by the key in `jwks` moments ago. Raises OAuthRefusal: bad_attestation."""
    try:
        parsed = jose.parse_compact(token, "evidence")
        if str(parsed.header.get("typ")).lower() != TYPE:
            raise OAuthRefusal(BAD, f"typ of the evidence is not {TYPE}")
        jose.verify_parsed(parsed, jwk, ALGORITHMS)
        said = strictjson.decode(parsed.payload, ChipEvidence, "evidence")
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(BAD, str(error)) from None
    if not now - SECONDS_PAST <= said.iat <= now + SECONDS_FUTURE:
        raise OAuthRefusal(BAD, "the evidence is not of the last minutes")
    return said
