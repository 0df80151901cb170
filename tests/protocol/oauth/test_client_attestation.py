"""Client attestations: the published example, then each check of OAuth contract 2.2 broken once."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fidoloop.protocol import jose
from fidoloop.protocol.oauth.client_attestation import (
    ClientAttestation,
    Pop,
    PopClaims,
    check_combined,
    make_client_attestation,
    make_pop,
    verify_client_attestation,
    verify_pop,
)
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.protocol.oauth.message_hash import PreviousMessage

from ..builders import p256
from .tokens import JWK, OTHER, OTHER_JWK, signed_jwt

NOW = 1_800_000_000
ISSUER = "https://as.example"
ATTESTER = ec.derive_private_key(77, ec.SECP256R1())
ATTESTERS = {"a1": jose.public_jwk(ATTESTER.public_key())}

PUBLISHED_ATTESTATION = (
    "eyJ0eXAiOiJvYXV0aC1jbGllbnQtYXR0ZXN0YXRpb24rand0IiwiYWxnIjoiRVMyNTYiLCJraWQiOiIxMSJ9.eyJzdWIiOiJodHRwczovL2NsaWVud"
    "C5leGFtcGxlLmNvbSIsImlhdCI6MTc3MjQ4NzU5NSwiZXhwIjoyNTI5ODY2Mzk0LCJjbmYiOnsiandrIjp7Imt0eSI6IkVDIiwidXNlIjoic2lnIiw"
    "iY3J2IjoiUC0yNTYiLCJ4IjoiVmNLVk5CWjRJYUJBWVczanhNNHczVEpGVkE3bXllVUdReUd0LWdfeXZwUSIsInkiOiJmLUUtaFlFM1RBV0t3aFZ2O"
    "XBlajlOQUJzOVNYOVhzTk84MHg1N2pGVHlVIn19fQ._TS4d-LAnRlwdN97wiVnl4z7C9gvm45IWr-BvGTzeZaHtZtgNZ88gvzroU3LElUPbgF4kWi_"
    "DFORnKzsx5yu6A"
)
PUBLISHED_POP = (
    "eyJ0eXAiOiJvYXV0aC1jbGllbnQtYXR0ZXN0YXRpb24tcG9wK2p3dCIsImFsZyI6IkVTMjU2In0.eyJhdWQiOiJodHRwczovL2FzLmV4YW1wbGUuY2"
    "9tIiwianRpIjoiZDI1ZDAwYWItNTUyYi00NmZjLWFlMTktOThmNDQwZjI1MDY0IiwiaWF0IjoxNzcyNDg3NTk1LCJjaGFsbGVuZ2UiOiI1YzFhOWUx"
    "MC0yOWZmLTRjMmItYWU3My01N2MwOTU3YzA5YzQifQ.M4Uc4rWVAqaLlmDDUXQKkKPbAQKj0JrTizLgWhZndmbkvM3VL8y-w_QJr7Z0HZlH94E64cL"
    "a8L5fSjJItYv0jg"
)
PUBLISHED_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----
"""


def attestation(header: dict[str, object] | None = None, **changes: object) -> str:
    claims = {"sub": "app", "exp": NOW + 3600, "iat": NOW, "cnf": {"jwk": JWK}, **changes}
    whole = {"typ": "oauth-client-attestation+jwt", "alg": "ES256", "kid": "a1", **(header or {})}
    return signed_jwt(whole, claims, ATTESTER)


def pop(
    header: dict[str, object] | None = None, key: ec.EllipticCurvePrivateKey | None = None, **changes: object
) -> str:
    claims = {"aud": ISSUER, "jti": "j" * 22, "iat": NOW, **changes}
    return signed_jwt({"typ": "oauth-client-attestation-pop+jwt", "alg": "ES256", **(header or {})}, claims, key)


def verify(*fields: str, **changes: object) -> ClientAttestation:
    return verify_client_attestation(fields, **{"attesters": ATTESTERS, "now": NOW, **changes})  # type: ignore[arg-type]


def verify_proof(*fields: str, **changes: object) -> Pop:
    expected = {"expected_audience": ISSUER, "is_challenge": None, "now": NOW, **changes}
    return verify_pop(fields, verify(attestation()), **expected)  # type: ignore[arg-type]


def test_the_published_example_verifies() -> None:
    key = load_pem_public_key(PUBLISHED_KEY)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    attester = jose.public_jwk(key)
    assert attester.thumbprint == "19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8"
    client = "https://client.example.com"
    found = verify(PUBLISHED_ATTESTATION, attesters={"11": attester}, now=1772487600, expected_client_id=client)
    proof = verify_pop(
        [PUBLISHED_POP],
        found,
        expected_audience="https://as.example.com",
        is_challenge="5c1a9e10-29ff-4c2b-ae73-57c0957c09c4".__eq__,
        now=1772487600,
    )
    assert proof.claims.jti == "d25d00ab-552b-46fc-ae19-98f440f25064"


def test_what_is_made_verifies_and_keeps_every_claim() -> None:
    claims = {
        "sub": "app",
        "exp": NOW + 60,
        "iat": NOW,
        "cnf": {"jwk": JWK},
        "hwmodel": "bW9kZWw",
        "swversion": ["5.7.1"],
    }
    found = verify(make_client_attestation(ATTESTER, claims, "a1"))
    assert (found.client_id, found.attester, found.claims) == ("app", "a1", claims)
    previous = PreviousMessage("token", "sha-256", "h" * 43)
    proof = make_pop(p256(), PopClaims(ISSUER, "j" * 22, NOW, "c", previous))
    assert verify_proof(proof, is_challenge="c".__eq__).claims.prev_msg == previous


WRONG_ATTESTATIONS = {
    "typ of a proof": attestation({"typ": "oauth-client-attestation-pop+jwt"}),
    "no typ": attestation({"typ": None}),
    "alg none": attestation({"alg": "none"}),
    "a MAC": attestation({"alg": "HS256"}),
    "an unknown attester": attestation({"kid": "a2"}),
    "no kid": attestation({"kid": None}),
    "a key of its own": attestation({"kid": None, "jwk": OTHER_JWK}),
    "signed by another with the same kid": signed_jwt(
        {"typ": "oauth-client-attestation+jwt", "alg": "ES256", "kid": "a1"},
        {"sub": "app", "exp": NOW + 9, "cnf": {"jwk": JWK}},
        OTHER,
    ),
    "no sub": attestation(sub=None),
    "no exp": attestation(exp=None),
    "no cnf": attestation(cnf=None),
    "cnf with a thumbprint only": attestation(cnf={"jkt": "x"}),
    "a private key in cnf": attestation(cnf={"jwk": {**JWK, "d": "AA"}}),
    "a symmetric key in cnf": attestation(cnf={"jwk": {"kty": "oct", "k": "AAAA"}}),
    "issued in the future": attestation(iat=NOW + 61),
    "of another client": attestation(sub="another"),
    "not a JWT": "abc",
    "two in one field": f"{attestation()}, {attestation()}",
    "a critical header": attestation({"crit": ["x"], "x": 1}),
    "too long": attestation(padding="x" * 20000),
}


@pytest.mark.parametrize("name", WRONG_ATTESTATIONS)
def test_an_attestation_that_breaks_a_rule_is_refused(name: str) -> None:
    verify(attestation(), expected_client_id="app")
    with pytest.raises(OAuthRefusal) as caught:
        verify(WRONG_ATTESTATIONS[name], expected_client_id="app")
    assert caught.value.code == "invalid_client_attestation"


def test_none_is_no_client_and_two_are_refused() -> None:
    for fields, code in (((), "invalid_client"), ((attestation(),) * 2, "invalid_client_attestation")):
        with pytest.raises(OAuthRefusal) as caught:
            verify(*fields)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("changes", "max_age"), [({"exp": NOW - 60}, None), ({"iat": NOW - 61}, 60), ({"iat": None}, 60)], ids=json.dumps
)
def test_one_that_is_too_old_must_be_renewed(changes: dict[str, object], max_age: int | None) -> None:
    with pytest.raises(OAuthRefusal) as caught:
        verify(attestation(None, **changes), max_age=max_age)
    assert caught.value.code == "use_fresh_attestation"


WRONG_PROOFS = {
    "typ of an attestation": pop({"typ": "oauth-client-attestation+jwt"}),
    "a MAC": pop({"alg": "HS256"}),
    "by another key": pop(key=OTHER),
    "no jti": pop(jti=None),
    "an empty jti": pop(jti=""),
    "a jti too long": pop(jti="j" * 257),
    "no iat": pop(iat=None),
    "too old": pop(iat=NOW - 301),
    "of the future": pop(iat=NOW + 61),
    "no audience": pop(aud=None),
    "an audience with a slash more": pop(aud=f"{ISSUER}/"),
    "two audiences": pop(aud=[ISSUER]),
}


@pytest.mark.parametrize("name", WRONG_PROOFS)
def test_a_proof_that_breaks_a_rule_is_refused(name: str) -> None:
    verify_proof(pop())
    with pytest.raises(OAuthRefusal) as caught:
        verify_proof(WRONG_PROOFS[name])
    assert caught.value.code == "invalid_client_attestation"


@pytest.mark.parametrize("challenge", [None, "old"])
def test_a_challenge_is_needed_where_they_are_given(challenge: str | None) -> None:
    with pytest.raises(OAuthRefusal) as caught:
        verify_proof(pop(challenge=challenge), is_challenge="new".__eq__)
    assert caught.value.code == "use_attestation_challenge"


def test_a_proof_is_remembered_by_key_and_jti() -> None:
    first = verify_proof(pop())
    assert first.replay_key == verify_proof(pop(iat=NOW - 5)).replay_key
    assert first.replay_key != verify_proof(pop(jti="k" * 22)).replay_key
    assert first.expires_at == NOW + 301


def test_a_dpop_proof_serves_where_its_key_is_the_attested_one() -> None:
    found = verify(attestation())
    check_combined(found, found.thumbprint)
    with pytest.raises(OAuthRefusal):
        check_combined(found, jose.public_jwk(OTHER.public_key()).thumbprint)
