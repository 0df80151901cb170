"""Responses inspected beside the metadata of their models."""

import json
from datetime import datetime
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.inspect_response import ResponseReport, inspect_response
from fidoloop.protocol.uaf.inspection import Outcome
from fidoloop.protocol.uaf.verification_input import parse_verification_input

from ..builders import (
    AAID,
    AT,
    AUTHENTICATION,
    OTHER_KEY,
    REGISTRATION,
    SURROGATE,
    SURROGATE_REGISTRATION,
    USER_KEY,
    Assertion,
    message,
    p256,
    point,
    statement,
    tlv,
)
from .key_descriptions import key_attestation
from .test_attestation_of_responses import ANDROID, ANDROID_MODEL, certified_for, extension

RECORD = {
    "aaid": AAID,
    "keyID": base64url.encode(b"k" * 32),
    "publicKey": base64url.encode(point(p256(USER_KEY))),
    "sigAlg": 1,
    "keyAlg": 0x100,
    "signCounter": 4,
}


def inspect(text: str, *metadata: dict[str, Any], at: datetime = AT) -> ResponseReport:
    given = {"response": json.loads(text), "registrations": [RECORD], "transactions": [], "metadata": metadata}
    return inspect_response(parse_verification_input(json.dumps(given).encode()), now=at)


def failures(report: ResponseReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.all_checks if check.outcome is Outcome.FAILED}


def outcomes(report: ResponseReport) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in report.all_checks}


@pytest.mark.parametrize("assertion", [REGISTRATION, AUTHENTICATION], ids=["Reg", "Auth"])
def test_the_model_and_its_status_are_checked_and_its_roots_taken(assertion: Assertion) -> None:
    report = inspect(message(assertion), statement())
    assert report.verified(strict=True)
    assert {outcomes(report)[name] for name in ("model", "status")} == {Outcome.OK}


BROKEN: dict[str, tuple[Assertion, dict[str, Any], dict[str, str]]] = {
    "no metadata": (REGISTRATION.with_(aaid=b"F10B#0114"), statement(), {"model": "no metadata for F10B#0114"}),
    "version": (
        REGISTRATION,
        statement(authenticatorVersion=2),
        {"model": "authenticator version below its metadata's"},
    ),
    "key format": (
        REGISTRATION,
        statement(publicKeyAlgAndEncoding=0x101),
        {"model": "public key format is not the model's"},
    ),
    "attestation type": (
        SURROGATE_REGISTRATION,
        statement(),
        {
            "model": "attestation type is not one of the model's",
            "attestation chain": "no certificates, though the model has roots",
        },
    ),
    "revoked": (
        REGISTRATION,
        {"metadataStatement": statement(), "statusReports": [{"status": "REVOKED"}]},
        {"status": "F10B#0113: REVOKED"},
    ),
    "key of another algorithm": (
        REGISTRATION,
        statement(authenticationAlgorithm=5),
        {"public key": "public key: Invalid EC key."},
    ),
    "another AAID certified": (
        certified_for(b"F10B#0114"),
        statement(),
        {"attestation chain": "the attestation certificate is for another AAID"},
    ),
    "version of an authentication": (
        AUTHENTICATION,
        statement(authenticatorVersion=2),
        {"model": "authenticator version below its metadata's"},
    ),
    "revoked, authenticating": (
        AUTHENTICATION,
        {"metadataStatement": statement(), "statusReports": [{"status": "REVOKED"}]},
        {"status": "F10B#0113: REVOKED"},
    ),
    "method of another model": (
        AUTHENTICATION.with_(
            inside=tlv(0x3E12, tlv(0x2E13, b"fido.uaf.uvm"), tlv(0x2E14, bytes.fromhex("0200000001000100")))
        ),
        statement(),
        {"user verification methods": "fido.uaf.uvm: a user verification method that is not the model's"},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_the_models_shows_at_its_check(case: str) -> None:
    assertion, metadata, expected = BROKEN[case]
    assert failures(inspect(message(assertion), metadata)) == expected


def android_statement() -> dict[str, Any]:
    extensions = [{"id": each.id, "data": each.data} for each in ANDROID_MODEL.statement.supportedExtensions or ()]
    changes: dict[str, Any] = {
        **SURROGATE,
        "keyProtection": 6,
        "matcherProtection": 2,
        "userVerificationDetails": [[{"userVerification": 2}]],
        "supportedExtensions": extensions,
    }
    return statement(**changes)


def test_androids_key_attestation_is_checked_by_the_models_roots() -> None:
    right = message(SURROGATE_REGISTRATION, wrapper=extension(key_attestation()))
    report = inspect(right, android_statement())
    assert outcomes(report)["key attestation"] is Outcome.OK
    assert report.verified(strict=True)
    wrong = message(SURROGATE_REGISTRATION, wrapper=extension(key_attestation(key=p256(OTHER_KEY))))
    assert failures(inspect(wrong, android_statement())) == {
        "key attestation": f"{ANDROID}: the attested key is not the one registered"
    }


def test_androids_key_attestation_is_not_checked_without_metadata_that_supports_it() -> None:
    text = message(SURROGATE_REGISTRATION, wrapper=extension(key_attestation()))
    assert outcomes(inspect(text, statement(**SURROGATE)))["key attestation"] is Outcome.NOT_CHECKED


def test_a_method_of_no_form_fails_without_metadata_too() -> None:
    assertion = AUTHENTICATION.with_(inside=tlv(0x3E12, tlv(0x2E13, b"fido.uaf.uvm"), tlv(0x2E14, b"x")))
    given = {"response": json.loads(message(assertion)), "registrations": [RECORD], "transactions": []}
    report = inspect_response(parse_verification_input(json.dumps(given).encode()), now=AT)
    assert failures(report) == {"user verification methods": "1 bytes, 1 to 3 times 8 expected"}


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ([{}], r"\$\.metadata\[0\]"),
        ({}, r"\$\.metadata"),
        ([statement(), statement(keyProtection=0)], r"metadata\[1\]"),
    ],
)
def test_metadata_that_is_none_is_malformed(metadata: object, where: str) -> None:
    given = {"response": json.loads(message(REGISTRATION)), "metadata": metadata}
    with pytest.raises(MalformedError, match=where):
        parse_verification_input(json.dumps(given).encode())
