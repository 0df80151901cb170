"""The client attester, which is a RATS verifier: evidence in, a client attestation out.

Both ways of the seed on attested clients: the instance asks (`/attester/attest`), or the attestation is delivered to it
with its registration. The attester has keys of its own; the authorization server knows the public ones only.
"""

import secrets
from typing import Any

import msgspec

from fidoloop.protocol import strictjson
from fidoloop.protocol.evidence.values import Tier
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.client_attestation import make_client_attestation
from fidoloop.protocol.oauth.device_facts import DeviceFacts
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.http.messages import Request, Response
from fidoloop.server.oauth.answers import oauth_json
from fidoloop.server.oauth.authorization_server import ATTEST
from fidoloop.server.oauth.evidence import BAD, appraise, new_nonce
from fidoloop.server.store import oauth_queries

EAR_PROFILE = "tag:ietf.org,2026:rats/ear#03"
ATTESTATION_SECONDS = 3600


class EvidenceNonce(msgspec.Struct, frozen=True):
    """A nonce for evidence: 32 bytes in base64url."""

    nonce: str


class AttestRequest(msgspec.Struct, frozen=True):
    """A request for an attestation: evidence about the key that `client_id` is registered with."""

    client_id: str
    evidence: str


class AttestResponse(msgspec.Struct, frozen=True):
    """An attestation and for how many seconds it is good."""

    client_attestation: str
    expires_in: int


async def serve_nonce(environment: Environment, request: Request) -> Response:
    """Answer with a nonce."""
    return oauth_json(EvidenceNonce(new_nonce(environment)))


async def serve_attest(environment: Environment, request: Request) -> Response:
    """Answer with an attestation for a client whose registered key the evidence is about."""
    wanted = strictjson.decode(request.body, AttestRequest)
    device = appraise(environment, wanted.evidence, ATTEST)
    now = environment.clock()
    async with environment.store.transaction() as transaction:
        client = await transaction.fetch_one(oauth_queries.CLIENT, id=wanted.client_id)
        if client is None or client.jkt != device.jwk.thumbprint:
            raise OAuthRefusal(BAD, "the evidence is about another key than the one that the client registered with")
        await device.use_nonce(transaction, now // 1000)
    attestation = attest(environment, client.id, device.jwk, device.facts)
    return oauth_json(AttestResponse(attestation, ATTESTATION_SECONDS))


def attest(environment: Environment, client_id: str, jwk: PublicJwk, facts: DeviceFacts) -> str:
    """Return an attestation: whose key that is, and what the device is."""
    server = environment.authorization_server
    now = environment.clock()
    signing = server.attester.signing_key(now)
    claims: dict[str, Any] = msgspec.to_builtins(facts) | {
        "iss": server.issuer,
        "sub": client_id,
        "iat": now // 1000,
        "exp": now // 1000 + ATTESTATION_SECONDS,
        "jti": secrets.token_urlsafe(16),
        "cnf": {"jwk": jwk.members},
        "ear": _result(facts),
    }
    return make_client_attestation(signing.key, claims, signing.kid)


def _result(facts: DeviceFacts) -> dict[str, Any]:
    """Return the appraisal as an attestation result (draft-ietf-rats-ear): affirming, or none for unsigned claims."""
    attested = facts.tier == Tier.ATTESTED
    status = 2 if attested else 0
    vector = {"instance-identity": status, "hardware": status} if attested else {}
    return {"eat_profile": EAR_PROFILE, "ear_status": status, "ear_trustworthiness_vector": vector}
