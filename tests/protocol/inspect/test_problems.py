"""What is wrong is told where it is, and a signature is verified only by a key that was given."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fidoloop.protocol import base64url, jose, strictjson
from fidoloop.protocol.ctap import canonical_cbor
from fidoloop.protocol.evidence import oids
from fidoloop.protocol.inspect.kinds import inspect
from fidoloop.protocol.webauthn.algorithms import load_credential_key

from ..builders import AT, fc_params, p256, recorded, root, tlv, to_der
from ..evidence import builders as evidence
from ..oauth.tokens import signed_jwt
from .examples import (
    DPOP,
    JWK,
    KEY,
    MAKE,
    NOW,
    RFC_9449,
    SELECT_PIV,
    WEBAUTHN,
    attestation_object,
    authenticator_data,
    registration,
    text,
    tokens,
)

CLAIMS = {"jti": "1", "htm": "POST", "htu": "https://a.example", "iat": NOW}


def proof(header: dict[str, object] | None = None, **claims: object) -> bytes:
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK.members} | (header or {})
    return signed_jwt(head, CLAIMS | claims).encode()


def bent(name: str, data: bytes) -> bytes:
    """Return authenticator data, bent."""
    return {"short": data[:-1], "long": data + b"x", "flags": data[:32] + bytes([data[32] & ~0x08 | 0x10]) + data[33:]}[
        name
    ]


def message(**changes: object) -> bytes:
    (response,) = json.loads(json.dumps(recorded()["softhsm-p-256-presence-reg"]["response"]))
    return text([response | changes])


def credential(**changes: object) -> bytes:
    found = registration()["credential"]
    return text(found | {"response": found["response"] | changes})


CASES: list[tuple[str | None, bytes, str]] = [
    (None, proof(htm=None), "payload at 237: Object missing required field `htm`"),
    (None, proof({"alg": "none"}), "header/alg at 27: not signed at all"),
    (None, proof({"alg": "HS256"}), "alg at 27: a secret shared"),
    (None, proof({"crit": ["x"]}), "a critical header that is not understood"),
    (None, proof(iat="soon"), "payload/iat at 63: no epoch seconds; Expected `int`, got `str`"),
    (None, DPOP.rpartition(".")[0].encode() + b".", "signature at"),
    (None, signed_jwt({"alg": "ES256"}, {"software_id": "x", "iss": "m", "exp": 1}).encode(), "exp at 40: has run out"),
    (None, signed_jwt({"typ": "eat+jwt", "alg": "ES256"}, {"eat_profile": "x"}).encode(), "missing required field"),
    (None, message(assertions=[]), ""),
    (None, message(fcParams="e30"), "missing required field"),
    (None, message(header={"upv": {"major": 1, "minor": 1}}), "header at 12: Object missing required field `op`"),
    (None, message(assertions=[{"assertionScheme": "x", "assertion": "Aj4B"}]), "no tag and length"),
    (None, text({"nma_data": "x", "nma_data_content_type": "application/json"}), "nma_data at 13"),
    (None, text({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "coordinates are not 32 bytes each"),
    (None, text({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "not 2048 to 4096 bits"),
    (None, credential(clientDataJSON=base64url.encode(b'{"type":"webauthn.x","challenge":"","origin":""}')), "neither"),
    (None, credential(attestationObject="!"), "not base64url"),
    (None, tlv(0x3E01, tlv(0x3E03)), "lacks"),
    (None, tlv(0x2E0B, b"no aaid"), "not of the form HHHH#HHHH"),
    ("authenticator-data", bent("long", authenticator_data()), "rest at"),
    ("authenticator-data", bent("flags", authenticator_data()), "backed up (BS)"),
    ("attestation-object", attestation_object() + b"\0", "not canonical CBOR: 1 bytes after the item"),
    ("cbor", b"\xa2\x02\x01\x01\x01", "map keys out of order"),
    ("cbor", b"\x18\x01", "a longer encoding than the shortest"),
    ("cbor", b"\x61\xff", "text that is not UTF-8"),
    ("cose-key", canonical_cbor.encode({1: {1: 1}}), ""),
    ("cose-key", canonical_cbor.encode({1: [1]}), ""),
    ("ctap-response", b"\x31", "status at 0: the command was not carried out"),
    ("ctap-request", MAKE + b"\0", "1 bytes after the item"),
    ("apdu", bytes.fromhex(SELECT_PIV[:16]), "Lc at 4: 9 bytes, 3 there"),
    ("apdu-answer", b"\x69\x83", "blocked: too many wrong PINs"),
    ("der", bytes.fromhex("300602010102017f7f"), "rest at 8"),
    ("der", bytes.fromhex("3003020901"), "runs 8 bytes past the end"),
    ("tpm-attest", evidence.Certified(kind=0x8018).attest, "attests something else"),
    ("tpm-attest", evidence.Certified().attest[:40], "is cut short"),
    (None, text([["application/vnd.fidoloop.piv-attestation+x5c", "W10", 4]]), "0 certificates"),
    (None, text([["text/plain", "eA", 4]]), "is not known"),
    (None, text({"attestationRootCertificates": ["x"], "aaid": "F10B#0112"}), "not base64"),
    (None, text({"trustedFacets": [{"ids": ["https://a.example"]}]}), "missing required field `version`"),
    (None, text({"status": 1, "timestamp": "x"}), "status at 11: Expected `str`"),
    (None, text({"dispatchResult": "x", "sessionId": 1}), "sessionId at"),
    (None, fc_params(appID=1).encode(), "appID at"),
]


@pytest.mark.parametrize(("kind", "data", "problem"), CASES, ids=range(len(CASES)))
def test_what_is_wrong_is_told_where_it_is(kind: str | None, data: bytes, problem: str) -> None:
    found = inspect(data, kind=kind, now=AT)
    assert problem in "; ".join(found.problems)
    assert bool(found.problems) is bool(problem)


@pytest.mark.parametrize(
    ("now", "problem"),
    [(AT, ""), (AT + timedelta(days=400), "has run out"), (AT - timedelta(days=400), "not valid yet")],
)
def test_a_certificate_is_held_against_the_time(now: datetime, problem: str) -> None:
    found = inspect(to_der(evidence.attested(KEY)), now=now)
    assert "; ".join(found.problems).endswith(problem)
    assert bool(found.problems) is bool(problem)


@pytest.mark.parametrize(
    ("arc", "subject", "extensions", "said"),
    [
        (oids.YUBICO_PIV, "YubiKey PIV Attestation 9a", evidence.PIV_EXTENSIONS, "firmware 5.7.1"),
        (oids.YUBICO_PIV, "YubiKey PIV Attestation 9a", evidence.PIV_EXTENSIONS, "touch policy never"),
        (oids.YUBICO_HSM, "YubiHSM Attestation id 0x1234", evidence.HSM_EXTENSIONS, "origin generated"),
    ],
)
def test_a_vendors_extensions_are_told(arc: str, subject: str, extensions: dict[int, bytes], said: str) -> None:
    certificate = evidence.attested(KEY, arc=arc, subject=subject, extensions=extensions)
    said_all = [str(node.value) for _, node in inspect(to_der(certificate)).tree.walk()]
    assert any(said in one for one in said_all)


def test_a_vendors_extension_that_has_no_meaning_is_a_problem() -> None:
    extensions = evidence.PIV_EXTENSIONS | {8: b"\x09\x09"}
    found = inspect(to_der(evidence.attested(KEY, extensions=extensions)))
    assert any("touch policy" in one for one in found.problems)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_a_serial_number_that_is_not_positive_is_a_problem() -> None:
    der = to_der(evidence.ak_certificate())
    at = der.index(b"\x02\x01\x07")
    found = inspect(der[:at] + b"\x02\x01\x00" + der[at + 3 :])
    assert any("serialNumber at" in one and "not positive" in one for one in found.problems)


def _rfc_9449_key() -> Any:  # noqa: ANN401  # a public key
    header = strictjson.loads(base64url.decode(RFC_9449.split(".")[0]))
    return jose.parse_public_jwk(header["jwk"]).key


def _recorded_key() -> Any:  # noqa: ANN401  # a public key
    (stored,) = recorded()["softhsm-p-256-presence-auth"]["registrations"]
    point = base64url.decode(stored["publicKey"])
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


ASSERTION = WEBAUTHN["assertions"][0]
SIGNED = [
    pytest.param(DPOP.encode(), KEY.public_key(), id="jws"),
    pytest.param(RFC_9449.encode(), _rfc_9449_key(), id="RFC 9449"),
    pytest.param(
        text(ASSERTION["credential"]),
        load_credential_key(base64url.decode(ASSERTION["publicKey"])).key,
        id="credential",
    ),
    pytest.param(to_der(evidence.device()), root().public_key(), id="certificate"),
    pytest.param(text(recorded()["softhsm-p-256-presence-auth"]["response"]), _recorded_key(), id="uaf"),
]


@pytest.mark.parametrize(("data", "key"), SIGNED)
def test_a_signature_is_verified_by_the_key_that_was_given_and_by_no_other(data: bytes, key: Any) -> None:  # noqa: ANN401
    assert inspect(data).verified is None
    assert inspect(data, key=key).verified is True
    other = inspect(data, key=p256(77).public_key())
    assert other.verified is False
    assert any("does not verify with the key given" in one for one in other.problems)


def test_a_proof_is_not_verified_by_the_key_in_its_own_header() -> None:
    found = inspect(DPOP.encode())
    assert found.verified is None
    assert any("not verified: no key was given" in node.meaning for _, node in found.tree.walk())


def test_what_others_signed_inside_is_not_held_against_the_key() -> None:
    found = inspect(tokens()["device evidence (EAT, RFC 9711)"].encode(), key=KEY.public_key())
    assert found.verified is True


def test_what_has_no_signature_stays_unverified_with_a_key() -> None:
    assert inspect(canonical_cbor.encode({"a": 1}), key=KEY.public_key(), now=datetime.now(UTC)).verified is None
