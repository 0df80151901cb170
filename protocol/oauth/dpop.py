"""DPoP proofs: built, and verified by every check of RFC 9449 section 4.3 (digest: OAuth contract 4.1).

That a proof is used once is the store's business: `replay_key` is what to remember, and for how long.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from msgspec import UNSET, UnsetType

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.jose import PublicJwk
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import PreviousMessage
from fidoloop.protocol.oauth.target_uri import normalize_target_uri

TYPE: Final = "dpop+jwt"
ALGORITHMS: Final = ("ES256", "ES384", "PS256", "RS256")
MAX_PROOF_CHARACTERS: Final = 8192
MAX_JTI_CHARACTERS: Final = 128
SECONDS_PAST: Final = 60
SECONDS_PAST_WITH_NONCE: Final = 300
SECONDS_FUTURE: Final = 10

INVALID: Final = "invalid_dpop_proof"
USE_NONCE: Final = "use_dpop_nonce"


class DpopClaims(msgspec.Struct, frozen=True):
    """What a proof says (RFC 9449 section 4.2); `prev_msg` is our own extension."""

    jti: str
    htm: str
    htu: str
    iat: int
    ath: str | UnsetType = UNSET
    nonce: str | UnsetType = UNSET
    prev_msg: PreviousMessage | UnsetType = UNSET


class DpopProof(NamedTuple):
    """A verified proof.

    `replay_key` is 43 characters; it must not be seen again until `expires_at` (epoch seconds).
    """

    jwk: PublicJwk
    thumbprint: str
    claims: DpopClaims
    replay_key: str
    expires_at: int


def make_dpop_proof(key: PrivateKeyTypes, claims: DpopClaims) -> str:
    """Return a proof signed by `key`, a hardware key or another (EC P-256, P-384 or RSA)."""
    public = jose.jose_private_key(key)[1]
    return jose.sign_compact(strictjson.encode(claims).encode("utf-8"), key, {"typ": TYPE, "jwk": public.members})


def access_token_hash(token: str) -> str:
    """Return `ath` of an access token (RFC 9449 section 4.2)."""
    return base64url.encode(hashlib.sha256(token.encode("utf-8")).digest())


def verify_dpop_proof(
    fields: Sequence[str],
    *,
    expected_method: str,
    expected_uri: str,
    now: int,
    is_nonce: Callable[[str], bool] | None,
    expected_access_token: str | None = None,
    expected_thumbprint: str | None = None,
) -> DpopProof:
    """Return the proof in the `DPoP` header fields of a request if every check of RFC 9449 section 4.3 holds.

    Args:
        fields: every DPoP field of the request as it was sent, not joined.
        expected_method: of the request.
        expected_uri: the service's own URI as clients see it, never made from Host.
        now: epoch seconds.
        is_nonce: tells whether a nonce is one of this server's that is still good; None where none are given out.
        expected_access_token: the token presented with it, at a protected resource.
        expected_thumbprint: the key that the session, code or token is bound to.

    Raises:
        OAuthRefusal: invalid_dpop_proof or use_dpop_nonce.
    """
    # 1. There is not more than one DPoP HTTP request header field.
    if len(fields) != 1:
        raise OAuthRefusal(INVALID, f"{len(fields)} DPoP header fields, 1 expected")
    try:
        claims, jwk, thumbprint = _read(fields[0])
        # 9. The htu claim matches the HTTP URI value, ignoring any query and fragment parts.
        is_uri = claims.htu == expected_uri or normalize_target_uri(claims.htu) == normalize_target_uri(expected_uri)
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusal(INVALID, str(error)) from None
    # 8. The htm claim matches the HTTP method of the current request.
    if claims.htm != expected_method:
        raise OAuthRefusal(INVALID, "htm is not the method of this request")
    if not is_uri:
        raise OAuthRefusal(INVALID, "htu is not the URI of this request")
    _check_nonce(claims, is_nonce)
    expires_at = _check_time(claims, now, with_nonce=is_nonce is not None)
    _check_access_token(claims, expected_access_token)
    if expected_thumbprint is not None and not hmac.compare_digest(expected_thumbprint, thumbprint):
        raise OAuthRefusal(INVALID, "the proof is by another key than the one that this is bound to")
    seen = f"{thumbprint}|{claims.htm}|{normalize_target_uri(expected_uri)}|{claims.jti}"
    replay_key = base64url.encode(hashlib.sha256(seen.encode("utf-8")).digest())
    return DpopProof(jwk, thumbprint, claims, replay_key, expires_at)


def _read(proof: str) -> tuple[DpopClaims, PublicJwk, str]:
    # 2. The DPoP HTTP request header field value is a single and well-formed JWT.
    if len(proof) > MAX_PROOF_CHARACTERS:
        raise MalformedError("DPoP", f"more than {MAX_PROOF_CHARACTERS} characters")
    header, _, rest = proof.partition(".")
    payload, _, signature = rest.partition(".")
    # 4. typ, 5. alg, 7. no private key: what the header says is the same in every proof of a client.
    algorithm, jwk, thumbprint = _header(header)
    # 3. All required claims are contained in the JWT.
    claims = strictjson.decode(base64url.decode(payload, "DPoP payload"), DpopClaims, "DPoP")
    if not 1 <= len(claims.jti) <= MAX_JTI_CHARACTERS:
        raise MalformedError("DPoP.jti", f"not 1 to {MAX_JTI_CHARACTERS} characters")
    # 6. The JWT signature verifies with the public key contained in the jwk header parameter.
    signed = jose.CompactJws(
        {"alg": algorithm}, b"", f"{header}.{payload}".encode("ascii"), base64url.decode(signature, "DPoP signature")
    )
    jose.verify_parsed(signed, jwk, ALGORITHMS)
    return claims, jwk, thumbprint


def _check_nonce(claims: DpopClaims, is_nonce: Callable[[str], bool] | None) -> None:
    """10. If the server provided a nonce value to the client, the nonce claim matches it."""
    if is_nonce is None:
        return
    if claims.nonce is UNSET:
        raise OAuthRefusal(USE_NONCE, "a nonce of this server is needed")
    if not is_nonce(claims.nonce):
        raise OAuthRefusal(USE_NONCE, "the nonce is not one of this server, or too old")


def _check_time(claims: DpopClaims, now: int, *, with_nonce: bool) -> int:
    """11. The creation time of the JWT is within an acceptable window; returns its end."""
    past = SECONDS_PAST_WITH_NONCE if with_nonce else SECONDS_PAST
    future = SECONDS_PAST_WITH_NONCE if with_nonce else SECONDS_FUTURE
    if not now - past <= claims.iat <= now + future:
        raise OAuthRefusal(INVALID, "iat is too far from the server's clock")
    return claims.iat + past + 1


def _check_access_token(claims: DpopClaims, access_token: str | None) -> None:
    """12. Presented with an access token, ath is the hash of that token."""
    if access_token is None:
        return
    if claims.ath is UNSET or not hmac.compare_digest(claims.ath.encode(), access_token_hash(access_token).encode()):
        raise OAuthRefusal(INVALID, "ath is not the hash of the access token")


@lru_cache(maxsize=1024)
def _header(segment: str) -> tuple[str, PublicJwk, str]:
    """Return algorithm, key and thumbprint; kept, since the header of a client's proofs is always the same."""
    header = strictjson.loads(base64url.decode(segment, "DPoP header"), "DPoP header")
    if not isinstance(header, dict) or header.get("typ") != TYPE:
        raise MalformedError("DPoP header", f"typ is not {TYPE}")
    if "crit" in header or "b64" in header:
        raise MalformedError("DPoP header", "a critical header is not understood")
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise MalformedError("DPoP header", f"alg is none of {' '.join(ALGORITHMS)}")
    if not isinstance(header.get("jwk"), dict):
        raise MalformedError("DPoP header", "jwk is no object")
    jwk = jose.parse_public_jwk(header["jwk"], "DPoP header jwk")
    if algorithm not in jwk.signature_algorithms:
        raise MalformedError("DPoP header", "alg does not fit the key")
    return algorithm, jwk, jwk.thumbprint
