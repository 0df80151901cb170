"""VAPID: what a push service holds against RFC 8292."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url, jose, vapid
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.vapid import Claims, VapidRefusal
from fidoloop.protocol.web_push import point_of

NOW = 1_790_000_000
AUDIENCE = "https://push.example"
KEY = ec.generate_private_key(ec.SECP256R1())
CLAIMS = Claims(AUDIENCE, NOW + 3600, "mailto:lab@example.org")


def verify(header: str, *, now: float = NOW, key: ec.EllipticCurvePrivateKey = KEY) -> Claims:
    return vapid.verify_authorization(header, expected_key=key.public_key(), expected_audience=AUDIENCE, now=now)


def header_of(claims: dict[str, Any] | bytes, key: ec.EllipticCurvePrivateKey = KEY, *, shown: bytes = b"") -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    token = jose.sign_compact(payload, key, {"typ": "JWT"})
    return f"vapid t={token}, k={base64url.encode(shown or point_of(KEY.public_key()))}"


def test_what_is_written_verifies_and_is_an_es256_jwt() -> None:
    header = vapid.authorization(KEY, CLAIMS)
    assert verify(header) == CLAIMS
    token = header.removeprefix("vapid t=").partition(", k=")[0]
    head, payload, signature = token.split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "ES256", "typ": "JWT"}
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {
        "aud": AUDIENCE,
        "exp": NOW + 3600,
        "sub": "mailto:lab@example.org",
    }
    assert len(base64.urlsafe_b64decode(signature + "==")) == 64


def test_the_parameters_come_in_any_order_and_case() -> None:
    scheme, _, rest = vapid.authorization(KEY, CLAIMS).partition(" ")
    first, _, second = rest.partition(", ")
    assert verify(f"{scheme.upper()} {second},{first}") == CLAIMS


OTHER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "header",
    [
        vapid.authorization(OTHER, CLAIMS),
        header_of({"aud": AUDIENCE, "exp": NOW + 60}, OTHER),
        header_of({"aud": AUDIENCE, "exp": NOW + 60}, shown=point_of(OTHER.public_key())),
        header_of({"aud": "https://other.example", "exp": NOW + 60}),
        header_of({"aud": f"{AUDIENCE}/", "exp": NOW + 60}),
        header_of({"aud": AUDIENCE, "exp": NOW}),
        header_of({"aud": AUDIENCE, "exp": NOW + 24 * 3600 + 1}),
        vapid.authorization(KEY, CLAIMS).replace("eyJhbGciOiJFUzI1NiI", "eyJhbGciOiJub25lIn0"),
    ],
    ids=["key", "signature", "shown key", "audience", "audience path", "run out", "too long", "algorithm"],
)
def test_a_push_that_is_not_from_the_server_or_not_for_here_is_refused(header: str) -> None:
    with pytest.raises((VapidRefusal, MalformedError)):
        verify(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer abc",
        "vapid",
        "vapid t=a.b.c",
        f"vapid k={base64url.encode(point_of(KEY.public_key()))}",
        vapid.authorization(KEY, CLAIMS) + ", t=a.b.c",
        header_of(b"{}"),
        header_of(b"[]"),
        header_of({"aud": [AUDIENCE], "exp": NOW + 60}),
        header_of({"aud": AUDIENCE, "exp": "soon"}),
        "vapid t=x" + "x" * 5000,
    ],
    ids=range(11),
)
def test_what_is_no_vapid_header_is_malformed(header: str) -> None:
    with pytest.raises(MalformedError):
        verify(header)
