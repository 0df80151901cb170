"""Who a client is and what its device may have: by an attestation or by its key, then by the device policy.

OAuth contract 2.2 and 2.5: attestation, possession, the key that the client registered with, the policy.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import UNSET

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.oauth import client_assertion, client_attestation
from fidoloop.protocol.oauth.client_attestation import ClientAttestation
from fidoloop.protocol.oauth.device_facts import DeviceFacts
from fidoloop.protocol.oauth.device_policy import Attested, Grants, decide
from fidoloop.protocol.oauth.dpop import DpopProof
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import PreviousMessage
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request
from fidoloop.server.oauth.proofs import UsedProof
from fidoloop.server.store import oauth_queries
from fidoloop.server.store.base import Statements
from fidoloop.server.store.oauth_rows import Client

ATTESTATION: Final = b"oauth-client-attestation"
POP: Final = b"oauth-client-attestation-pop"
BY_POP: Final = "attest_jwt_client_auth"
BY_DPOP: Final = "attest_jwt_client_auth_dpop"
BY_KEY: Final = "private_key_jwt"
METHODS: Final = (BY_POP, BY_DPOP, BY_KEY)
INVALID: Final = "invalid_client"


class AuthenticatedClient(NamedTuple):
    """A client, what its device is granted by which rule, the proof it showed and the message that proof names."""

    client: Client
    rule: str
    grants: Grants
    proof: UsedProof | None
    previous: PreviousMessage | None


class _Shown(NamedTuple):
    client: Client
    facts: Attested
    proof: UsedProof | None
    previous: PreviousMessage | None


class _Clients(NamedTuple):
    statements: Statements
    known: Client | None

    async def find(self, client_id: str) -> Client:
        if self.known is not None and self.known.id == client_id:
            return self.known
        client = await self.statements.fetch_one(oauth_queries.CLIENT, id=client_id)
        if client is None:
            raise OAuthRefusal(INVALID, "no such client")
        return client


async def authenticate_client(
    environment: Environment,
    statements: Statements,
    request: Request,
    parameters: Mapping[str, str],
    dpop: DpopProof | None,
    *,
    expected_client_id: str | None = None,
    known: Client | None = None,
) -> AuthenticatedClient:
    """Return the client of a request if it is who it says and its device may be here at all.

    Args:
        environment: the server.
        statements: the store, or a transaction.
        request: with the header fields of an attestation, if there is one.
        parameters: of the request: client_id, client_assertion.
        dpop: the request's verified DPoP proof, which may stand for a proof of possession.
        expected_client_id: of the session or code in the request, if known.
        known: the client that was read already; another is asked for.

    Raises:
        OAuthRefusal: invalid_client, invalid_client_attestation, use_attestation_challenge, use_fresh_attestation;
            invalid_request where it authenticates in two ways.
    """
    named = parameters.get("client_id", expected_client_id)
    if expected_client_id is not None and named != expected_client_id:
        raise OAuthRefusal("invalid_request", "client_id is not the client's that began this")
    attested = request.fields(ATTESTATION)
    assertion = parameters.get("client_assertion")
    if request.fields(b"authorization"):
        raise OAuthRefusal(INVALID, "clients do not authenticate by the Authorization header here")
    if attested and assertion is not None:
        raise OAuthRefusal("invalid_request", "the client authenticates in two ways")
    if assertion is not None:
        shown = await _by_key(environment, _Clients(statements, known), parameters, assertion, named)
    else:
        shown = await _by_attestation(environment, _Clients(statements, known), request, named=named, dpop=dpop)
    rule, grants = decide(environment.authorization_server.device_policy.policy, shown.facts)
    if rule is None or rule.grants is UNSET:
        raise OAuthRefusal(client_attestation.INVALID, "the device policy does not allow this device")
    return AuthenticatedClient(shown.client, rule.name, grants, shown.proof, shown.previous)


async def _by_attestation(
    environment: Environment,
    clients: _Clients,
    request: Request,
    *,
    named: str | None,
    dpop: DpopProof | None,
) -> _Shown:
    server = environment.authorization_server
    now = environment.clock() // 1000
    attestation = client_attestation.verify_client_attestation(
        request.fields(ATTESTATION),
        attesters=server.attester.public_keys(),
        now=now,
        expected_client_id=named,
        max_age=server.settings.attestation_age,
    )
    client = await clients.find(attestation.client_id)
    # Otherwise one device could pose as another client.
    if client.jkt != attestation.thumbprint:
        raise OAuthRefusal(INVALID, "the attested key is not the one that the client registered with")
    pop = request.fields(POP)
    if not pop and dpop is not None and client.auth_method == BY_DPOP:
        client_attestation.check_combined(attestation, dpop.thumbprint)
        previous = None if dpop.claims.prev_msg is UNSET else dpop.claims.prev_msg
        return _Shown(client, _facts(attestation, now), None, previous)
    if not pop or client.auth_method != BY_POP:
        raise OAuthRefusal(INVALID, f"the client is registered for {client.auth_method}")
    found = client_attestation.verify_pop(
        pop,
        attestation,
        expected_audience=server.issuer,
        is_challenge=(lambda text: server.challenges.is_good(text, now))
        if server.settings.attestation_challenges
        else None,
        now=now,
    )
    previous = None if found.claims.prev_msg is UNSET else found.claims.prev_msg
    proof = UsedProof(found.replay_key, found.expires_at, client_attestation.INVALID)
    return _Shown(client, _facts(attestation, now), proof, previous)


async def _by_key(
    environment: Environment,
    clients: _Clients,
    parameters: Mapping[str, str],
    assertion: str,
    named: str | None,
) -> _Shown:
    if parameters.get("client_assertion_type") != client_assertion.ASSERTION_TYPE:
        raise OAuthRefusal(INVALID, "client_assertion_type is not that of a JWT")
    now = environment.clock() // 1000
    claimed = client_assertion.claimed_client_id(assertion)
    client = await clients.find(claimed)
    if client.auth_method != BY_KEY:
        raise OAuthRefusal(INVALID, f"the client is registered for {client.auth_method}")
    found = client_assertion.verify_client_assertion(
        assertion,
        jose.parse_public_jwk(client.jwk),
        expected_client_id=named or claimed,
        expected_audience=environment.authorization_server.issuer,
        now=now,
    )
    facts = strictjson.decode(client.device, DeviceFacts)
    # What the device is was told when the client registered; the instance itself plays the attester from then on.
    attested = Attested(facts, "registration", now - client.created_at // 1000)
    return _Shown(client, attested, UsedProof(found.replay_key, found.expires_at, INVALID), None)


def _facts(attestation: ClientAttestation, now: int) -> Attested:
    if attestation.facts is None:
        raise OAuthRefusal(client_attestation.INVALID, "the attestation does not say what the device is")
    age = None if attestation.issued_at is None else now - attestation.issued_at
    return Attested(attestation.facts, attestation.attester, age)
