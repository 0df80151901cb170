"""The specification's test vectors, and messages that authenticators of many makers sent."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.uaf.algorithms import Scheme, SignatureAlgorithm
from fidoloop.protocol.webauthn import algorithms
from fidoloop.protocol.webauthn.client_data import RelyingParty
from fidoloop.protocol.webauthn.messages import AuthenticationCredential, RegistrationCredential
from fidoloop.protocol.webauthn.refusal import Rule, WebAuthnRefusal
from fidoloop.protocol.webauthn.verify_authentication_response import (
    AuthenticationExpectations,
    CredentialRecord,
    verify_authentication_response,
)
from fidoloop.protocol.webauthn.verify_registration_response import (
    RegisteredCredential,
    RegistrationExpectations,
    verify_registration_response,
)

VECTORS = json.loads((Path(__file__).parents[2] / "data/vectors/webauthn.json").read_text("utf-8"))
REGISTRATIONS = {vector["name"]: vector for vector in VECTORS["registrations"]}
ASSERTIONS = {vector["name"]: vector for vector in VECTORS["assertions"]}
WITH_ASSERTION = [name for name, vector in REGISTRATIONS.items() if "get" in vector]
AT = datetime(2026, 1, 1, tzinfo=UTC)
RS1 = -65535


def rp_of(vector: dict[str, Any]) -> RelyingParty:
    tops = frozenset({vector["topOrigin"]}) if "topOrigin" in vector else frozenset()
    return RelyingParty(vector["rpId"], frozenset({vector["origin"]}), tops)


def registered(vector: dict[str, Any]) -> RegisteredCredential:
    return verify_registration_response(
        strictjson.decode(json.dumps(vector["credential"]), RegistrationCredential),
        rp=rp_of(vector),
        expected=RegistrationExpectations(
            challenge=vector["challenge"],
            algorithms=frozenset(algorithms.NUMBERS.values()),
            user_verification_required=False,
        ),
        models={},
        at=AT,
    )


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_a_recorded_registration_verifies(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = REGISTRATIONS[name]
    if vector["format"] == "tpm":
        # These TPMs sign over SHA-1, which is not taken; all else of the format is tried on them.
        with pytest.raises(WebAuthnRefusal) as refused:
            registered(vector)
        assert refused.value.rule is Rule.ALGORITHM
        row = SignatureAlgorithm(Scheme.RSASSA_PKCS1, hashes.SHA1(), None, False, frozenset({RS1}))  # noqa: S303
        monkeypatch.setattr(algorithms, "_ROWS", {**algorithms._ROWS, RS1: row})
    taken = registered(vector)
    assert (taken.format, taken.attestation_type) == (vector["format"], vector["type"])


@pytest.mark.parametrize("name", WITH_ASSERTION)
def test_the_specifications_assertions_verify(name: str) -> None:
    taken, vector = registered(REGISTRATIONS[name]), REGISTRATIONS[name]["get"]
    assertion = verify_authentication_response(
        strictjson.decode(json.dumps(vector["credential"]), AuthenticationCredential),
        rp=rp_of(REGISTRATIONS[name]),
        expected=AuthenticationExpectations(
            challenge=vector["challenge"], user_verification_required=False, user_handle="x"
        ),
        record=CredentialRecord(taken.id, "x", taken.public_key, taken.sign_count, taken.backup_eligible),
    )
    assert not assertion.clone_suspected


@pytest.mark.parametrize("name", ASSERTIONS)
def test_a_recorded_assertion_verifies(name: str) -> None:
    vector = ASSERTIONS[name]
    credential = strictjson.decode(json.dumps(vector["credential"]), AuthenticationCredential)
    handle = credential.response.userHandle or "x"
    assert isinstance(handle, str)
    assertion = verify_authentication_response(
        credential,
        rp=rp_of(vector),
        expected=AuthenticationExpectations(
            challenge=vector["challenge"], user_verification_required=False, user_handle=handle
        ),
        record=CredentialRecord(
            credential.id, handle, base64url.decode(vector["publicKey"]), vector["signCount"], False
        ),
    )
    assert assertion.sign_count >= vector["signCount"]


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_no_recorded_registration_verifies_for_another_challenge(name: str) -> None:
    with pytest.raises(WebAuthnRefusal) as refused:
        registered(REGISTRATIONS[name] | {"challenge": "AAAA"})
    assert refused.value.rule is Rule.CHALLENGE
