"""dpop-verify: a DPoP proof verified by every check, against bare ECDSA P-256 verification of the same signature."""

import secrets
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bench.measure import Row, side_by_side
from fidoloop.protocol import base64url
from fidoloop.protocol.oauth.dpop import DpopClaims, access_token_hash, make_dpop_proof, verify_dpop_proof
from fidoloop.protocol.oauth.server_nonces import ServerNonces

URI = "https://localhost:8443/api/whoami"


def run() -> list[Row]:
    """Measure a proof with nonce and ath, as a protected resource gets it, of one client among others."""
    now = int(time.time())
    nonces = ServerNonces([secrets.token_bytes(32)], "dpop-nonce:rs")
    token = secrets.token_urlsafe(300)
    key = ec.generate_private_key(ec.SECP256R1())
    claims = DpopClaims(
        secrets.token_urlsafe(16), "GET", URI, now, ath=access_token_hash(token), nonce=nonces.current(now)
    )
    proof = make_dpop_proof(key, claims)
    public, message = key.public_key(), proof.rpartition(".")[0].encode("ascii")
    raw = base64url.decode(proof.rpartition(".")[2])
    signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))

    def verify() -> None:
        verify_dpop_proof(
            [proof],
            expected_method="GET",
            expected_uri=URI,
            now=now,
            is_nonce=lambda nonce: nonces.is_good(nonce, now),
            expected_access_token=token,
        )

    return [
        side_by_side(
            "dpop-verify",
            verify,
            lambda: public.verify(signature, message, ec.ECDSA(hashes.SHA256())),
            wanted=0.55,
        )
    ]
