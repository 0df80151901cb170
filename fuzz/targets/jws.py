"""JWK and compact JWS."""

from collections.abc import Iterator
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.errors import MalformedError
from fuzz.properties import accepted, split, text

MAX_BYTES = 1 << 13
DICTIONARY = (
    b'"alg"', b'"ES256"', b'"ES384"', b'"PS256"', b'"none"', b'"HS256"', b'"crit"', b'"b64"', b'"kid"', b'"jwk"',
    b'"kty"', b'"EC"', b'"RSA"', b'"crv"', b'"P-256"', b'"x"', b'"y"', b'"n"', b'"e"', b'"d"', b"\n\n",
)  # fmt: skip


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """Return the key that tokens of this target are signed by."""
    return ec.derive_private_key(0x5EED, ec.SECP256R1())


def signed(header: bytes, payload: bytes) -> str:
    """Return a compact JWS whose header and payload are any bytes; the signature is right by ES256."""
    input_ = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    return f"{input_}.{base64url.encode(jose._sign(key(), input_.encode('ascii'), 'ES256'))}"


def check(data: bytes) -> None:
    """A token as it is; a JWK; header and payload, an empty line between, signed by the known key.

    Accepted is only what says ES256, without crit and b64; a public key is the same once more by its JWK.
    """
    public = jose.public_jwk(key().public_key())
    refusals = (MalformedError, jose.JoseRefusal)
    token = text(data)
    accepted(lambda: jose.verify_compact(token, public), *refusals)
    accepted(lambda: jose.unverified_payload(token), *refusals)
    parsed = accepted(lambda: jose.parse_compact(token), *refusals)
    if parsed is not None:
        parts = (parsed.signing_input.decode("ascii"), base64url.encode(parsed.signature))
        assert ".".join(parts) == token
    found = accepted(lambda: jose.parse_public_jwk(token), MalformedError)
    if found is not None:
        assert jose.public_jwk(found.key) == found or found.thumbprint == jose.public_jwk(found.key).thumbprint
        assert jose.parse_public_jwk(found.to_json()).thumbprint == found.thumbprint
        accepted(lambda: jose.verify_compact(signed(b'{"alg":"ES256"}', b"x"), found), *refusals)
    header, payload = split(data, 2)
    verified = accepted(lambda: jose.verify_compact(signed(header, payload), public), *refusals)
    if verified is not None:
        members = strictjson.loads(header)
        assert verified == payload
        assert members["alg"] == "ES256"
        assert not {"crit", "b64"} & members.keys()


def seeds() -> Iterator[bytes]:
    """Yield tokens of every kind that the project makes, keys, and headers with payloads."""
    from tests.protocol.builders import rsa2048
    from tests.protocol.inspect.examples import tokens

    for token in tokens().values():
        if len(token) < MAX_BYTES:
            yield token.encode()
    yield jose.public_jwk(rsa2048().public_key()).to_json().encode()
    yield jose.public_jwk(key().public_key()).to_json().encode()
    yield jose.public_jwk(ec.derive_private_key(7, ec.SECP384R1()).public_key()).to_json().encode()
    yield signed(b'{"alg":"ES256"}', b"{}").encode()
    yield b'{"alg":"ES256","kid":"k","typ":"JWT"}\n\n{"a":1}'
