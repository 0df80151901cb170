"""DPoP proofs."""

from collections.abc import Iterator
from functools import partial

from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.oauth.dpop import DpopClaims, make_dpop_proof, verify_dpop_proof
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fuzz.properties import accepted, split, text
from fuzz.targets.jws import key, signed

MAX_BYTES = 1 << 13
NOW = 1_800_000_000
METHOD, URI = "POST", "https://as.example/token"
DICTIONARY = (
    b'"htm"', b'"htu"', b'"iat"', b'"jti"', b'"ath"', b'"nonce"', b'"prev_msg"', b'"typ"', b'"dpop+jwt"', b'"jwk"',
    b'"alg"', b'"ES256"', b'"crit"', b'"b64"', METHOD.encode(), URI.encode(), str(NOW).encode(), b"\n\n", b"1e999",
)  # fmt: skip


def check(data: bytes) -> None:
    """A field as it is; and header and claims, an empty line between, signed by the known key.

    What is accepted is of this method, URI and time, and has the same replay key the second time.
    """
    for field in (text(data), signed(*split(data, 2))):
        for nonce in (None, "good".__eq__):
            found = accepted(
                partial(
                    verify_dpop_proof,
                    [field],
                    expected_method=METHOD,
                    expected_uri=URI,
                    now=NOW,
                    is_nonce=nonce,
                ),
                OAuthRefusal,
            )
            if found is not None:
                assert found.claims.htm == METHOD
                assert abs(found.claims.iat - NOW) <= 300
                assert found.expires_at > NOW
                assert found.thumbprint == jose.public_jwk(found.jwk.key).thumbprint


def seeds() -> Iterator[bytes]:
    """Yield proofs, and headers with claims."""
    header = strictjson.encode({"typ": "dpop+jwt", "alg": "ES256", "jwk": jose.public_jwk(key().public_key()).members})
    for claims in (DpopClaims("1", METHOD, URI, NOW), DpopClaims("1", METHOD, URI, NOW, nonce="good", ath="x")):
        yield make_dpop_proof(key(), claims).encode()
        yield f"{header}\n\n{strictjson.encode(claims)}".encode()
    yield f"{header}\n\n{strictjson.encode(DpopClaims('1', METHOD, 'https://as.EXAMPLE:443/token?x#y', NOW))}".encode()
