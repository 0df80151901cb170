"""Registration of clients: one is one device, by evidence about its key (RFC 7591, RFC 7592, attested DCR draft)."""

import hashlib
import hmac
import secrets
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.client_metadata import (
    GRANT_TYPES,
    INVALID,
    ClientMetadata,
    ClientRegistration,
    JwkSet,
    check_metadata,
)
from fidoloop.protocol.oauth.device_policy import Attested, decide
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.software_statement import verify_software_statement
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import OAuthError, oauth_json
from fidoloop.server.oauth.attester import attest
from fidoloop.server.oauth.authorization_server import REGISTER
from fidoloop.server.oauth.client_authentication import BY_POP
from fidoloop.server.oauth.evidence import BAD, STALE, AppraisedDevice, appraise, new_nonce
from fidoloop.server.oauth.proofs import use_proof
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Statements, Transaction
from fidoloop.server.store.oauth_rows import Client

DEFAULT_DIALECT: Final = "ietf-03"
_NEVER_SENT = (
    "registration_access_token",
    "registration_client_uri",
    "client_id_issued_at",
    "client_secret_expires_at",
)
_STATEMENT_SECONDS = 10 * 366 * 24 * 3600


class StaleEvidence(OAuthError, frozen=True, omit_defaults=True):
    """An error answer; where evidence is needed, with the nonce that it must be for."""

    nonce: str | UnsetType = UNSET


class ClientInformation(ClientMetadata, frozen=True, omit_defaults=True):
    """A registered client (RFC 7591 section 3.2.1); evidence is never echoed."""

    client_id: str = ""
    client_id_issued_at: int = 0
    registration_client_uri: str = ""
    registration_access_token: str | UnsetType = UNSET
    software_statement: str | UnsetType = UNSET
    client_attestation: str | UnsetType = UNSET


async def register(environment: Environment, request: Request) -> Response:
    """Register a client, or answer with the nonce that its evidence must be for."""
    await environment.limits.begun.spend(request.limited_as)
    wanted = strictjson.decode(request.body, ClientRegistration)
    try:
        device = _appraised(environment, wanted)
        now = environment.clock()
        token = secrets.token_urlsafe(32)
        async with environment.store.transaction() as transaction:
            metadata = await _settled(environment, transaction, wanted)
            rule = _allowed(environment, device)
            client = _new_client(device, metadata, rule, token, now)
            await transaction.execute(oauth_queries.ADD_CLIENT, **_columns(client))
            await device.use_nonce(transaction, now // 1000)
    except OAuthRefusal as refusal:
        if refusal.code != STALE:
            raise
        stale = StaleEvidence(STALE, "evidence for this nonce is needed", new_nonce(environment))
        return oauth_json(stale, 400)
    information = _information(environment, client, token=token, statement=wanted.software_statement)
    return oauth_json(
        msgspec.structs.replace(
            information, client_attestation=attest(environment, client.id, device.jwk, device.facts)
        ),
        201,
    )


async def read(environment: Environment, request: Request) -> Response:
    """Answer with a client's registration."""
    return oauth_json(_information(environment, await _authorized(environment, environment.store, request)))


async def update(environment: Environment, request: Request) -> Response:
    """Replace a client's metadata; its key only by new evidence (RFC 7592 section 2.2)."""
    sent = strictjson.loads(request.body)
    if not isinstance(sent, dict) or sent.get("client_id") != request.identifier:
        raise OAuthRefusal("invalid_request", "client_id is missing or another")
    for name in _NEVER_SENT:
        if name in sent:
            raise OAuthRefusal("invalid_request", f"{name} is not the client's to send")
    wanted = strictjson.convert(sent, ClientRegistration)
    attestation: str | UnsetType = UNSET
    try:
        async with environment.store.transaction() as transaction:
            client = await _authorized(environment, transaction, request)
            now = environment.clock()
            jwk = jose.parse_public_jwk(client.jwk)
            changed = client
            if wanted.evidence is not UNSET:
                device = _appraised(environment, wanted)
                rule = _allowed(environment, device)
                jwk = device.jwk
                changed = msgspec.structs.replace(
                    client, jkt=jwk.thumbprint, jwk=jwk.to_json(), device=_device_record(device, rule, now)
                )
                await device.use_nonce(transaction, now // 1000)
                attestation = attest(environment, client.id, jwk, device.facts)
            elif wanted.jwks is not UNSET and _only_key(wanted.jwks).thumbprint != client.jkt:
                raise OAuthRefusal(STALE, "another key needs evidence")
            metadata = await _settled(environment, transaction, wanted)
            changed = msgspec.structs.replace(
                changed, metadata=strictjson.encode(metadata), auth_method=_auth_method(metadata)
            )
            await transaction.execute(
                oauth_queries.CHANGE_CLIENT,
                id=client.id,
                jkt=changed.jkt,
                jwk=changed.jwk,
                auth_method=changed.auth_method,
                metadata=changed.metadata,
                device=changed.device,
            )
            if changed.jkt != client.jkt:
                # What was bound to the key before is worth nothing with this one.
                await transaction.execute(oauth_queries.REVOKE_GRANTS_OF_CLIENT, client_id=client.id, now=now)
    except OAuthRefusal as refusal:
        if refusal.code != STALE:
            raise
        return oauth_json(StaleEvidence(STALE, "evidence for this nonce is needed", new_nonce(environment)), 400)
    information = _information(environment, changed, statement=wanted.software_statement)
    return oauth_json(msgspec.structs.replace(information, client_attestation=attestation))


async def delete(environment: Environment, request: Request) -> Response:
    """Remove a client; its grants and tokens die with it."""
    now = environment.clock()
    async with environment.store.transaction() as transaction:
        client = await _authorized(environment, transaction, request)
        await transaction.execute(oauth_queries.REVOKE_CLIENT, id=client.id, now=now)
        await transaction.execute(oauth_queries.REVOKE_GRANTS_OF_CLIENT, client_id=client.id, now=now)
    return Response(204)


async def _authorized(environment: Environment, statements: Statements, request: Request) -> Client:
    """Return the client of the registration access token, which must be the path's. Raises OAuthRefusal 401."""
    scheme, _, token = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    client = await statements.fetch_one(oauth_queries.CLIENT, id=request.identifier)
    known = client.registration_token_hash if client else ""
    if scheme.lower() != "bearer" or not hmac.compare_digest(_hash(token), known) or client is None:
        raise OAuthRefusal("invalid_token", "not the registration access token of a client")
    return client


def _appraised(environment: Environment, wanted: ClientRegistration) -> AppraisedDevice:
    """Return the device of a registration, whose key is the only one in `jwks`."""
    if wanted.evidence is UNSET:
        raise OAuthRefusal(STALE, "there is no evidence")
    device = appraise(environment, wanted.evidence, REGISTER)
    if wanted.jwks is not UNSET and _only_key(wanted.jwks).thumbprint != device.jwk.thumbprint:
        raise OAuthRefusal(BAD, "the evidence is about another key than the one in jwks")
    return device


def _only_key(jwks: JwkSet) -> jose.PublicJwk:
    if len(jwks.keys) != 1:
        raise OAuthRefusal(INVALID, "jwks holds exactly one key, the instance's")
    try:
        return jose.parse_public_jwk(jwks.keys[0], "jwks")
    except MalformedError as error:
        raise OAuthRefusal(INVALID, str(error)) from None


def _allowed(environment: Environment, device: AppraisedDevice) -> str:
    """Return the name of the rule that lets the device in. Raises OAuthRefusal: bad_attestation."""
    server = environment.authorization_server
    attester = server.attester.signing_key(environment.clock()).kid
    rule, _ = decide(server.device_policy.policy, Attested(device.facts, attester, 0))
    if rule is None or rule.grants is UNSET:
        raise OAuthRefusal(BAD, "the device policy does not allow this device")
    return rule.name


async def _settled(environment: Environment, transaction: Transaction, wanted: ClientRegistration) -> ClientMetadata:
    """Return the metadata in force: what a publisher says wins over what the client says (RFC 7591 section 2.3)."""
    server = environment.authorization_server
    now = environment.clock() // 1000
    said = _metadata_of(wanted)
    if wanted.software_statement is not UNSET:
        anchors = server.software_publishers.anchors
        publishers = [jose.public_jwk(key) for key in anchors.keys]
        statement = verify_software_statement(wanted.software_statement, publishers=publishers, now=now)
        said |= _metadata_of(statement.metadata)
        if statement.one_time is not None:
            key = base64url.encode(hashlib.sha256(statement.one_time.encode("utf-8")).digest())
            await use_proof(transaction, key, now + _STATEMENT_SECONDS, code="invalid_software_statement")
    defaults: dict[str, Any] = {
        "dpop_bound_access_tokens": True,
        "grant_types": list(GRANT_TYPES),
        "response_types": ["code"],
        "token_endpoint_auth_method": BY_POP,
        "fipa_dialect": DEFAULT_DIALECT,
    }
    metadata = ClientMetadata(
        **(defaults | said | {"dpop_bound_access_tokens": said.get("dpop_bound_access_tokens", True)})
    )
    check_metadata(metadata)
    return metadata


def _metadata_of(source: ClientMetadata) -> dict[str, Any]:
    names = (name for name in ClientMetadata.__struct_fields__ if name != "jwks")
    return {name: value for name in names if (value := getattr(source, name)) is not UNSET}


def _auth_method(metadata: ClientMetadata) -> str:
    return BY_POP if metadata.token_endpoint_auth_method is UNSET else metadata.token_endpoint_auth_method


def _new_client(device: AppraisedDevice, metadata: ClientMetadata, rule: str, token: str, now: int) -> Client:
    return Client(
        id=secrets.token_urlsafe(16),
        jkt=device.jwk.thumbprint,
        jwk=device.jwk.to_json(),
        auth_method=_auth_method(metadata),
        metadata=strictjson.encode(metadata),
        device=_device_record(device, rule, now),
        registration_token_hash=_hash(token),
        created_at=now,
    )


def _device_record(device: AppraisedDevice, rule: str, now: int) -> str:
    """Return what is kept of the device: its facts, who vouches, which rule; of its serial number the hash only."""
    record = msgspec.to_builtins(device.facts) | {
        "signed_by": device.appraisal.signed_by,
        "rule": rule,
        "appraised_at": now,
    }
    serial = device.appraisal.claims.get("serial", device.appraisal.claims.get("hwserial"))
    if serial is not None:
        record["serial_hash"] = _hash(f"{device.appraisal.kind}|{serial}")
    return strictjson.encode(record)


def _columns(client: Client) -> dict[str, str | int]:
    columns: dict[str, str | int] = msgspec.structs.asdict(client)
    columns["now"] = columns.pop("created_at")
    return columns


def _information(
    environment: Environment, client: Client, *, token: str | None = None, statement: str | UnsetType = UNSET
) -> ClientInformation:
    metadata = strictjson.decode(client.metadata, ClientMetadata)
    return ClientInformation(
        **_metadata_of(metadata),
        jwks=JwkSet([dict(jose.parse_public_jwk(client.jwk).members)]),
        client_id=client.id,
        client_id_issued_at=client.created_at // 1000,
        registration_client_uri=environment.authorization_server.uri(f"{REGISTER}/{client.id}"),
        registration_access_token=UNSET if token is None else token,
        software_statement=statement,
    )


def _hash(text: str) -> str:
    return base64url.encode(hashlib.sha256(text.encode("utf-8")).digest())
