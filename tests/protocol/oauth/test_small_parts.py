"""PKCE, message hashes, nonces, target URIs and access tokens."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import jose
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.access_tokens import (
    AccessTokenClaims,
    KeyConfirmation,
    make_access_token,
    verify_access_token,
)
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import PreviousMessage, matches, message_hash
from fidoloop.protocol.oauth.pkce import check_challenge, code_challenge, verify_verifier
from fidoloop.protocol.oauth.server_nonces import ServerNonces
from fidoloop.protocol.oauth.target_uri import normalize_target_uri

from ..builders import p256
from .tokens import signed_jwt

NOW = 1_800_000_000
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_pkce_as_rfc_7636_prints_it() -> None:
    assert code_challenge(VERIFIER) == CHALLENGE
    check_challenge(CHALLENGE, "S256")
    verify_verifier(VERIFIER, CHALLENGE)
    verify_verifier(None, None)


@pytest.mark.parametrize(
    ("verifier", "challenge"),
    [
        (None, CHALLENGE),
        (VERIFIER, None),
        (VERIFIER[:-1] + "l", CHALLENGE),
        (VERIFIER[:42], CHALLENGE),
        ("ä" * 43, CHALLENGE),
    ],
)
def test_another_verifier_or_one_too_many_is_refused(verifier: str | None, challenge: str | None) -> None:
    with pytest.raises(OAuthRefusal, match="invalid_grant"):
        verify_verifier(verifier, challenge)


@pytest.mark.parametrize(
    ("challenge", "method"), [(CHALLENGE, "plain"), (CHALLENGE, None), (CHALLENGE[:-1], "S256"), ("=" * 43, "S256")]
)
def test_a_challenge_is_s256(challenge: str, method: str | None) -> None:
    with pytest.raises(OAuthRefusal, match="invalid_request"):
        check_challenge(challenge, method)


def test_a_message_hash_is_of_method_uri_media_type_and_body() -> None:
    uri = "https://as.example/authorize-challenge"
    first = message_hash("POST", uri, "application/x-www-form-urlencoded", b"a=1")
    assert first == message_hash("POST", f"{uri}?x#y", "Application/X-WWW-Form-urlencoded; charset=utf-8", b"a=1")
    assert (
        len(
            {
                first,
                *(
                    message_hash(*other)
                    for other in (
                        ("PUT", uri, "application/x-www-form-urlencoded", b"a=1"),
                        ("POST", uri + "2", "application/x-www-form-urlencoded", b"a=1"),
                        ("POST", uri, "application/json", b"a=1"),
                        ("POST", uri, "application/x-www-form-urlencoded", b"a=1 "),
                    )
                ),
            }
        )
        == 5
    )
    claim = PreviousMessage("dcr", "sha-256", first)
    assert matches(claim, of="dcr", expected_hash=first)
    assert not matches(claim, of="par", expected_hash=first)
    assert not matches(claim, of="dcr", expected_hash=first[::-1])


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("HTTPS://Server.Example:443/a/../token?x=1#f", "https://server.example/token"),
        ("https://s.example", "https://s.example/"),
        ("https://s.example?x", "https://s.example/"),
        ("https://s.example/%7Ea/%2f", "https://s.example/~a/%2F"),
        ("http://localhost:80/x", "http://localhost/x"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]/"),
    ],
)
def test_target_uris_are_normalised(text: str, normal: str) -> None:
    assert normalize_target_uri(text) == normal
    assert normalize_target_uri(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/x",
        "https:///x",
        "http://s.example/",
        "ftp://s.example/",
        "https://u@s.example/",
        "https://u:p@s.example/",
        "https://@s.example/",
        "https://s.example:99999/",
        "https://s.example/a b",
        "https://s.example/ä",
        "https://s/" + "a" * 2048,
        "https://[:]@",
        "https://[::&1]",
        "https://[::1",
        "https://[v1.x]/",
    ],
)
def test_what_is_no_target_uri_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        normalize_target_uri(text)


def test_a_nonce_is_good_for_five_minutes_and_for_its_role() -> None:
    key = b"k" * 32
    nonces = ServerNonces([key], "dpop-nonce:as")
    nonce = nonces.current(NOW)
    assert all(nonces.is_good(nonce, NOW + later) for later in (0, 60, 239))
    assert not nonces.is_good(nonce, NOW + 300)
    assert not nonces.is_good(nonce, NOW - 120)
    assert not ServerNonces([key], "dpop-nonce:rs").is_good(nonce, NOW)
    assert not ServerNonces([b"l" * 32], "dpop-nonce:as").is_good(nonce, NOW)
    assert ServerNonces([b"l" * 32, key], "dpop-nonce:as").is_good(nonce, NOW)
    assert not any(nonces.is_good(other, NOW) for other in ("", nonce[:-1], nonce + "A", "ä" * 43))


@pytest.mark.parametrize("keys", [[], [b"short"]])
def test_nonces_need_a_key(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        ServerNonces(keys, "dpop-nonce:as")


SERVER = ec.derive_private_key(5, ec.SECP256R1())
SERVER_KEYS = {"k1": jose.public_jwk(SERVER.public_key())}
CLAIMS = {
    "iss": "https://as.example",
    "sub": "alice",
    "aud": "https://api.example",
    "client_id": "app",
    "exp": NOW + 60,
    "iat": NOW,
    "jti": "t1",
    "scope": "a b",
    "cnf": {"jkt": "x" * 43},
    "acr": "fido2",
}


def verify(token: str) -> AccessTokenClaims:
    return verify_access_token(
        token, keys=SERVER_KEYS, expected_issuer="https://as.example", expected_audience="https://api.example", now=NOW
    )


def test_an_access_token_reads_back() -> None:
    claims = AccessTokenClaims(
        iss="https://as.example",
        sub="alice",
        aud="https://api.example",
        client_id="app",
        exp=NOW + 1,
        iat=NOW,
        jti="t",
        scope="a b",
        cnf=KeyConfirmation("x"),
    )
    assert verify(make_access_token(SERVER, "k1", claims)) == claims
    assert claims.scopes == {"a", "b"}


def changed(**claims: object) -> str:
    return signed_jwt({"typ": "at+jwt", "alg": "ES256", "kid": "k1"}, {**CLAIMS, **claims}, SERVER)


WRONG_TOKENS = {
    "typ JWT": signed_jwt({"typ": "JWT", "alg": "ES256", "kid": "k1"}, CLAIMS, SERVER),
    "typ of a proof": signed_jwt({"typ": "dpop+jwt", "alg": "ES256", "kid": "k1"}, CLAIMS, SERVER),
    "no typ": signed_jwt({"alg": "ES256", "kid": "k1"}, CLAIMS, SERVER),
    "alg none": signed_jwt({"typ": "at+jwt", "alg": "none", "kid": "k1"}, CLAIMS, SERVER),
    "alg HS256": signed_jwt({"typ": "at+jwt", "alg": "HS256", "kid": "k1"}, CLAIMS, SERVER),
    "an unknown key": signed_jwt({"typ": "at+jwt", "alg": "ES256", "kid": "k2"}, CLAIMS, SERVER),
    "another's signature": signed_jwt({"typ": "at+jwt", "alg": "ES256", "kid": "k1"}, CLAIMS, p256()),
    "another issuer": changed(iss="https://as.example/"),
    "another audience": changed(aud="https://api.example/x"),
    "expired": changed(exp=NOW),
    "no cnf": changed(cnf=None),
    "no exp": changed(exp=None),
    "too long": "a" * 9000,
    "not a JWT": "a.b.c",
}


@pytest.mark.parametrize("name", WRONG_TOKENS)
def test_an_access_token_that_breaks_a_rule_is_refused(name: str) -> None:
    verify(changed())
    with pytest.raises(OAuthRefusal, match="invalid_token"):
        verify(WRONG_TOKENS[name])
