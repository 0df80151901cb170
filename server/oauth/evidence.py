"""Evidence about a device: its nonce, used once, and its appraisal against anchors and policy (OAuth contract 7.3)."""

import secrets
from typing import NamedTuple

from fidoloop.protocol import base64url
from fidoloop.protocol.evidence.values import Appraisal
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.device_evidence import BAD, appraise_device_evidence, read_device_evidence
from fidoloop.protocol.oauth.device_facts import DeviceFacts, device_facts
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.environment import Environment
from fidoloop.server.oauth.proofs import use_proof
from fidoloop.server.store.base import Transaction

STALE = "stale_evidence"
NONCE_SECONDS = 300


class AppraisedDevice(NamedTuple):
    """A device and the client instance's key in it; `nonce` is still to be used up."""

    jwk: PublicJwk
    facts: DeviceFacts
    appraisal: Appraisal
    nonce: str

    async def use_nonce(self, transaction: Transaction, now: int) -> None:
        """Use up the nonce; `now` in epoch seconds. Raises OAuthRefusal: stale_evidence."""
        await use_proof(transaction, f"evidence|{self.nonce}", now + 2 * NONCE_SECONDS, code=STALE)


def new_nonce(environment: Environment) -> str:
    """Return a nonce for evidence: 32 bytes in base64url."""
    nonces = environment.authorization_server.evidence_nonces
    return base64url.encode(nonces.make(secrets.token_bytes(16), environment.clock() // 1000))


def appraise(environment: Environment, token: str, path: str) -> AppraisedDevice:
    """Return what evidence sent to the service at `path` proves.

    Raises:
        OAuthRefusal: stale_evidence where its nonce is not one of the last minutes, otherwise bad_attestation.
    """
    server = environment.authorization_server
    now = environment.clock() // 1000
    found = read_device_evidence(token, expected_audience=server.uri(path), now=now)
    if not server.evidence_nonces.is_good(found.nonce, now):
        raise OAuthRefusal(STALE, "the nonce of the evidence is not one of the last five minutes")
    appraisal = appraise_device_evidence(found, anchors=server.anchors.anchors, now=now)
    return AppraisedDevice(found.jwk, device_facts(appraisal), appraisal, found.claims.eat_nonce)


__all__ = ["BAD", "STALE", "AppraisedDevice", "appraise", "new_nonce"]
