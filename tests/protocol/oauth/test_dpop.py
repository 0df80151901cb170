"""RFC 9449: the published proofs, and each check of section 4.3 broken once."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import base64url, jose
from fidoloop.protocol.oauth.dpop import (
    MAX_JTI_CHARACTERS,
    DpopClaims,
    DpopProof,
    access_token_hash,
    make_dpop_proof,
    verify_dpop_proof,
)
from fidoloop.protocol.oauth.errors import OAuthRefusal

from ..builders import p256, rsa2048
from .tokens import JWK, OTHER_JWK, signed_jwt

NOW = 1_800_000_000
URI = "https://as.example/token"
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
KEYS: dict[str, Any] = {"ES256": p256(), "ES384": ec.derive_private_key(99, ec.SECP384R1()), "PS256": rsa2048()}

_HEAD = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJo"
    "RjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19."
)
_TOKEN_CLAIMS = (
    "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0"
)
PUBLISHED = {
    "token request": (
        f"{_HEAD}{_TOKEN_CLAIMS}IjoxNTYyMjYyNjE2fQ"
        ".2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
        ("POST", "https://server.example.com/token", 1562262616, None),
    ),
    "refresh": (
        f"{_HEAD}{_TOKEN_CLAIMS}IjoxNTYyMjY1Mjk2fQ"
        ".pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA",
        ("POST", "https://server.example.com/token", 1562265296, None),
    ),
    "protected resource": (
        f"{_HEAD}eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90"
        "ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9"
        ".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
        ("GET", "https://resource.example.org/protectedresource", 1562262618, TOKEN),
    ),
}


def proof(header: dict[str, object] | None = None, **changes: object) -> str:
    """Returns a proof by the P-256 key, right but for the changes; a member set to None is left out."""
    claims = {"jti": "j" * 22, "htm": "POST", "htu": URI, "iat": NOW, **changes}
    return signed_jwt({"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK, **(header or {})}, claims)


def verify(*fields: str, **changes: object) -> DpopProof:
    expected: dict[str, Any] = {"expected_method": "POST", "expected_uri": URI, "now": NOW, "is_nonce": None, **changes}
    return verify_dpop_proof(fields, **expected)


def refused(*fields: str, code: str = "invalid_dpop_proof", **changes: object) -> str:
    with pytest.raises(OAuthRefusal) as caught:
        verify(*fields, **changes)
    assert caught.value.code == code
    return caught.value.what


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_proofs_verify(name: str) -> None:
    text, (method, uri, now, token) = PUBLISHED[name]
    found = verify(text, expected_method=method, expected_uri=uri, now=now, expected_access_token=token)
    assert found.thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_the_published_access_token_has_its_hash() -> None:
    assert access_token_hash(TOKEN) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


@pytest.mark.parametrize("algorithm", KEYS)
def test_what_is_made_verifies(algorithm: str) -> None:
    made = make_dpop_proof(
        KEYS[algorithm], DpopClaims("a" * 22, "POST", URI, NOW, ath=access_token_hash("t"), nonce="n")
    )
    found = verify(made, expected_access_token="t", is_nonce="n".__eq__)
    assert found.thumbprint == jose.public_jwk(KEYS[algorithm].public_key()).thumbprint


WRONG: dict[str, Callable[[], str]] = {
    "2 not three parts": lambda: "a.b",
    "2 four parts": lambda: proof() + ".e30",
    "2 too long": lambda: proof(padding="x" * 9000),
    "2 not base64url": lambda: "+" + proof(),
    "2 duplicate members": lambda: ".".join([base64url.encode(b'{"typ":"dpop+jwt","typ":"dpop+jwt"}'), "e30", "AA"]),
    "3 no jti": lambda: proof(jti=None),
    "3 empty jti": lambda: proof(jti=""),
    "3 jti too long": lambda: proof(jti="j" * (MAX_JTI_CHARACTERS + 1)),
    "3 jti a number": lambda: proof(jti=1),
    "3 no htm": lambda: proof(htm=None),
    "3 no htu": lambda: proof(htu=None),
    "3 no iat": lambda: proof(iat=None),
    "3 iat a text": lambda: proof(iat=str(NOW)),
    "4 no typ": lambda: proof({"typ": None}),
    "4 another typ": lambda: proof({"typ": "at+jwt"}),
    "5 alg none": lambda: proof({"alg": "none"}),
    "5 alg HS256": lambda: proof({"alg": "HS256"}),
    "5 alg of another kind of key": lambda: proof({"alg": "PS256"}),
    "6 another key": lambda: proof({"jwk": OTHER_JWK}),
    "6 signature cut": lambda: proof()[:-8],
    "7 a private key": lambda: proof({"jwk": {**JWK, "d": "AA"}}),
    "7 no key": lambda: proof({"jwk": None}),
    "7 the key as a text": lambda: proof({"jwk": json.dumps(JWK)}),
    "7 a point off the curve": lambda: proof({"jwk": {**JWK, "y": JWK["x"]}}),
    "8 another method": lambda: proof(htm="GET"),
    "8 the method in lower case": lambda: proof(htm="post"),
    "9 another path": lambda: proof(htu="https://as.example/tokens"),
    "9 another host": lambda: proof(htu="https://as.example.org/token"),
    "9 another port": lambda: proof(htu="https://as.example:444/token"),
    "9 plain http": lambda: proof(htu="http://as.example/token"),
    "9 user information": lambda: proof(htu="https://me@as.example/token"),
    "9 the path in other case": lambda: proof(htu="https://as.example/Token"),
    "9 no URI": lambda: proof(htu="/token"),
    "11 too old": lambda: proof(iat=NOW - 61),
    "11 of the future": lambda: proof(iat=NOW + 11),
    "a critical header": lambda: proof({"crit": ["exp"]}),
    "unencoded payload": lambda: proof({"b64": False}),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_check_refuses(name: str) -> None:
    verify(proof())
    refused(WRONG[name]())


def test_1_there_is_exactly_one_field() -> None:
    refused()
    refused(proof(), proof())
    refused(f"{proof()}, {proof()}")


@pytest.mark.parametrize(
    "htu",
    [
        "HTTPS://AS.example/token",
        f"{URI}?a=1",
        f"{URI}#f",
        "https://as.example:443/a/../token",
        "https://as.example/%74oken",
    ],
)
def test_9_another_spelling_of_the_same_uri_is_the_same(htu: str) -> None:
    verify(proof(htu=htu))


def test_10_a_nonce_is_needed_where_nonces_are_given() -> None:
    good = "n" * 43
    verify(proof(nonce=good), is_nonce=good.__eq__)
    refused(proof(), is_nonce=good.__eq__, code="use_dpop_nonce")
    refused(proof(nonce="other"), is_nonce=good.__eq__, code="use_dpop_nonce")
    verify(proof(nonce=good, iat=NOW - 300), is_nonce=good.__eq__)
    refused(proof(nonce=good, iat=NOW - 301), is_nonce=good.__eq__)


def test_12_the_hash_is_of_the_token_presented() -> None:
    verify(proof(ath=access_token_hash("t")), expected_access_token="t")
    refused(proof(), expected_access_token="t")
    refused(proof(ath=access_token_hash("u")), expected_access_token="t")


def test_12_the_key_is_the_one_of_the_token() -> None:
    thumbprint = verify(proof()).thumbprint
    verify(proof(), expected_thumbprint=thumbprint)
    refused(proof(), expected_thumbprint="0" + thumbprint[1:])


def test_a_proof_is_remembered_by_key_method_uri_and_jti() -> None:
    first = verify(proof())
    assert first.replay_key == verify(proof(htu=f"{URI}?again")).replay_key
    assert first.replay_key != verify(proof(jti="k" * 22)).replay_key
    assert first.replay_key != verify(proof(htm="PUT"), expected_method="PUT").replay_key
    assert first.expires_at == NOW + 61


def test_a_refusal_repeats_nothing_of_what_was_sent() -> None:
    for text in (
        proof(jti="secret" * 40),
        proof(htu="https://secret.example/"),
        proof({"typ": "secret"}),
        proof(iat="secret"),
    ):
        assert "secret" not in refused(text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(base64url.encode), st.integers(0, 2))
def test_no_text_raises_anything_else(junk: str, place: int) -> None:
    parts = proof().split(".")
    parts[place] = junk
    refused(".".join(parts))
