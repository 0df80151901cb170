"""Client attestations, their proofs of possession, and device evidence in a token."""

from collections.abc import Iterator
from functools import cache, partial

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.evidence.values import Anchors
from fidoloop.protocol.oauth.client_attestation import (
    ATTESTATION_TYPE,
    POP_TYPE,
    ClientAttestation,
    PopClaims,
    make_client_attestation,
    make_pop,
    verify_client_attestation,
    verify_pop,
)
from fidoloop.protocol.oauth.device_evidence import appraise_device_evidence, make_device_evidence, read_device_evidence
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fuzz.properties import accepted, split, text
from fuzz.targets.jws import key, signed

MAX_BYTES = 1 << 14
NOW = 1_800_000_000
AUDIENCE = "https://as.example"
ANCHORS = Anchors()
DICTIONARY = (
    b'"sub"', b'"exp"', b'"iat"', b'"cnf"', b'"jwk"', b'"iss"', b'"aud"', b'"jti"', b'"challenge"', b'"kid"', b'"k1"',
    b'"typ"', ATTESTATION_TYPE.encode(), POP_TYPE.encode(), b'"hw"', b'"eat_nonce"', str(NOW).encode(), b"\n\n",
)  # fmt: skip


@cache
def _attestation() -> ClientAttestation:
    field = make_client_attestation(key(), _claims(), "k1")
    return verify_client_attestation([field], attesters={"k1": _public()}, now=NOW)


def _public() -> jose.PublicJwk:
    return jose.public_jwk(key().public_key())


def _claims() -> dict[str, object]:
    return {"sub": "app", "exp": NOW + 60, "iat": NOW, "cnf": {"jwk": _public().members}}


def check(data: bytes) -> None:
    """A field as it is; and header and claims, an empty line between, signed by the key that is trusted."""
    for field in (text(data), signed(*split(data, 2))):
        _attested(field)
        proof = accepted(
            partial(verify_pop, [field], _attestation(), expected_audience=AUDIENCE, is_challenge=None, now=NOW),
            OAuthRefusal,
        )
        assert proof is None or (proof.claims.aud == AUDIENCE and proof.expires_at > NOW)
        evidence = accepted(
            partial(read_device_evidence, field, expected_audience=AUDIENCE, now=NOW),
            OAuthRefusal,
        )
        if evidence is not None:
            accepted(
                partial(appraise_device_evidence, evidence, anchors=ANCHORS, now=NOW),
                OAuthRefusal,
            )


def _attested(field: str) -> None:
    found = accepted(
        lambda: verify_client_attestation([field], attesters={"k1": _public()}, now=NOW, expected_client_id="app"),
        OAuthRefusal,
    )
    if found is not None:
        assert found.client_id == "app"
        assert found.expires_at > NOW - 60


def seeds() -> Iterator[bytes]:
    """Yield tokens, and headers with claims."""
    from tests.protocol.evidence import builders

    pop = PopClaims(AUDIENCE, "1", NOW)
    yield make_client_attestation(key(), _claims(), "k1").encode()
    yield make_pop(key(), pop).encode()
    yield (
        strictjson.encode({"typ": ATTESTATION_TYPE, "alg": "ES256", "kid": "k1"}).encode()
        + b"\n\n"
        + (strictjson.encode({**_claims(), "device": {"os": "linux"}}).encode())
    )
    yield strictjson.encode({"typ": POP_TYPE, "alg": "ES256"}).encode() + b"\n\n" + strictjson.encode(pop).encode()
    for evidence in (builders.piv(), builders.Certified().evidence(), builders.pkix()):
        token = make_device_evidence(
            key(),
            evidence,
            nonce=base64url.encode(builders.NONCE),
            audience=AUDIENCE,
            now=NOW,
            token_id="1",  # noqa: S106 - no secret
            app_name="app",
        )
        yield token.encode()
        header, payload, _ = token.split(".")
        yield base64url.decode(header) + b"\n\n" + base64url.decode(payload)
