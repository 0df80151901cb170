"""DPoP (RFC 9449): proofs made by keys in hardware, and verified."""

from fidoloop.protocol.jose import PublicJwk, parse_public_jwk
from fidoloop.protocol.oauth.dpop import (
    DpopClaims,
    DpopProof,
    access_token_hash,
    make_dpop_proof,
    verify_dpop_proof,
)
from fidoloop.protocol.oauth.errors import OAuthRefusal

__all__ = [
    "DpopClaims",
    "DpopProof",
    "OAuthRefusal",
    "PublicJwk",
    "access_token_hash",
    "make_dpop_proof",
    "parse_public_jwk",
    "verify_dpop_proof",
]
