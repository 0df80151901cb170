import base64
import hashlib
import json
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import parse_registration_assertion
from fidoloop.protocol.uaf.inspect_response import ResponseReport, inspect_response
from fidoloop.protocol.uaf.inspection import Outcome
from fidoloop.protocol.uaf.verification_input import parse_verification_input

from ..builders import (
    AAID,
    AT,
    AUTHENTICATION,
    OTHER_KEY,
    REGISTRATION,
    SURROGATE_REGISTRATION,
    USER_KEY,
    Assertion,
    fc_params,
    message,
    p256,
    point,
    root,
    seed_request_body,
    tlv,
    to_der,
    vectors,
)

ROOT = base64.b64encode(to_der(root())).decode()
RECORD = {
    "aaid": AAID,
    "keyID": base64url.encode(b"k" * 32),
    "publicKey": base64url.encode(point(p256(USER_KEY))),
    "sigAlg": 1,
    "keyAlg": 256,
    "signCounter": 4,
}
PAY = base64url.encode(b"Pay")
CONFIRMED = AUTHENTICATION.with_(mode=2, tc_hash=hashlib.sha256(b"Pay").digest())


def inspect(text: str | None = None, **given: Any) -> ResponseReport:  # noqa: ANN401 - any member
    value = {"response": text, **given} if text is not None else given
    return inspect_response(parse_verification_input(json.dumps(value).encode()), now=AT)


def outcomes(report: ResponseReport) -> dict[str, str]:
    return {check.name: check.outcome.value for check in report.all_checks}


def failures(report: ResponseReport) -> set[str]:
    return {check.name for check in report.all_checks if check.outcome is Outcome.FAILED}


def test_a_registration_with_everything_given_is_all_ok() -> None:
    report = inspect(message(REGISTRATION), roots=[ROOT])
    assert set(outcomes(report).values()) == {"ok"}
    assert list(outcomes(report)) == [
        "fcParams",
        "scheme and extensions",
        "limits",
        "FCHash",
        "public key",
        "attestation signature",
        "attestation chain",
    ]
    assert report.verified(strict=True)


def test_an_authentication_with_everything_given_is_all_ok() -> None:
    report = inspect(message(AUTHENTICATION), registrations=[RECORD])
    assert set(outcomes(report).values()) == {"ok"}
    assert list(outcomes(report))[-4:] == ["stored key", "signature", "counter", "transaction"]
    assert report.verified(strict=True)


def test_a_surrogate_registration_is_judged_by_the_roots_too() -> None:
    text = message(SURROGATE_REGISTRATION)
    assert inspect(text, roots=[]).verified(strict=True)
    assert inspect(text).verified(strict=False)
    assert not inspect(text).verified(strict=True)
    assert failures(inspect(text, roots=[ROOT])) == {"attestation chain"}


@pytest.mark.parametrize(
    ("text", "given", "unchecked"),
    [
        (message(REGISTRATION), {}, {"attestation chain"}),
        (message(REGISTRATION), {"roots": [ROOT], "fcParamsPublished": False}, {"fcParams", "FCHash"}),
        (message(CONFIRMED), {"registrations": [RECORD]}, {"transaction"}),
    ],
)
def test_what_was_not_given_is_not_checked_and_refused_only_strictly(
    text: str, given: dict[str, Any], unchecked: set[str]
) -> None:
    report = inspect(text, **given)
    assert {name for name, outcome in outcomes(report).items() if outcome == "not checked"} == unchecked
    assert report.verified(strict=False)
    assert not report.verified(strict=True)


def test_an_authentication_without_its_registration_is_never_called_verified() -> None:
    report = inspect(message(AUTHENTICATION))
    found = outcomes(report)
    assert [found[name] for name in ("stored key", "signature", "counter")] == ["not checked"] * 3
    assert not failures(report)
    assert not report.verified(strict=False)


CRITICAL = tlv(0x3E11, tlv(0x2E13, b"unheard.of"), tlv(0x2E14, b""))
EXT = {"id": "unheard.of", "data": "", "fail_if_unknown": True}
REGISTRATION_GIVEN = {"roots": [ROOT]}
AUTHENTICATION_GIVEN = {"registrations": [RECORD], "transactions": []}
BROKEN: dict[str, tuple[Assertion, dict[str, Any], dict[str, Any], set[str]]] = {
    "fcParams unreadable": (REGISTRATION, {"params": "e30"}, {}, {"fcParams", "FCHash"}),
    "fcParams of another appID": (
        REGISTRATION.with_(fc_params=fc_params(appID="https://evil")),
        {},
        {},
        {"fcParams"},
    ),
    "fcParams altered": (REGISTRATION, {"params": fc_params(facetID="x")}, {}, {"FCHash"}),
    "header extension": (REGISTRATION, {"header": {"exts": [EXT]}}, {}, {"extensions"}),
    "wrapper extension": (REGISTRATION, {"wrapper": {"exts": [EXT]}}, {}, {"scheme and extensions"}),
    "scheme": (AUTHENTICATION, {"wrapper": {"assertionScheme": "X"}}, {}, {"scheme and extensions"}),
    "mode of a registration": (REGISTRATION.with_(mode=2), {}, {}, {"limits"}),
    "KeyID": (REGISTRATION.with_(key_id=b"k"), {}, {}, {"limits"}),
    "extension": (REGISTRATION.with_(inside=CRITICAL), {}, {}, {"limits"}),
    "nonce": (AUTHENTICATION.with_(nonce=b"n"), {}, {}, {"limits"}),
    "public key": (REGISTRATION.with_(public_key=b"\x04" * 65), {}, {}, {"public key"}),
    "attestation by another key": (
        REGISTRATION.with_(attestation_key=p256(OTHER_KEY)),
        {},
        {},
        {"attestation signature"},
    ),
    "surrogate by another key": (
        SURROGATE_REGISTRATION.with_(public_key=point(p256(OTHER_KEY))),
        {},
        {"roots": []},
        {"attestation signature"},
    ),
    "ECDAA": (REGISTRATION.with_(attestation=0x3E09), {}, {"roots": []}, {"attestation signature"}),
    "no certificates": (REGISTRATION.with_(chain=()), {}, {}, {"attestation signature", "attestation chain"}),
    "certificate unreadable": (
        REGISTRATION.with_(chain=(b"x",)),
        {},
        {},
        {"attestation signature", "attestation chain"},
    ),
    "no roots": (REGISTRATION, {}, {"roots": []}, {"attestation chain"}),
    "expired": (REGISTRATION, {}, {"at": "2027-01-01"}, {"attestation chain"}),
    "unknown key": (AUTHENTICATION.with_(key_id=b"x" * 32), {}, {}, {"stored key"}),
    "no key": (AUTHENTICATION, {}, {"registrations": []}, {"stored key"}),
    "registered for another algorithm": (
        AUTHENTICATION,
        {},
        {"registrations": [{**RECORD, "sigAlg": 2}]},
        {"stored key", "signature"},
    ),
    "stored key unusable": (AUTHENTICATION, {}, {"registrations": [{**RECORD, "publicKey": ""}]}, {"signature"}),
    "signed by another key": (AUTHENTICATION.with_(key=p256(OTHER_KEY)), {}, {}, {"signature"}),
    "counter": (AUTHENTICATION.with_(counters=(4, 0)), {}, {}, {"counter"}),
    "transaction not asked for": (CONFIRMED, {}, {}, {"transaction"}),
    "transaction not confirmed": (AUTHENTICATION, {}, {"transactions": [PAY]}, {"transaction"}),
    "hash in mode 1": (CONFIRMED.with_(mode=1), {}, {}, {"transaction"}),
    "mode 3": (AUTHENTICATION.with_(mode=3), {}, {}, {"transaction"}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_broken_rule_shows_at_its_check(case: str) -> None:
    assertion, around, given, broken = BROKEN[case]
    whole = REGISTRATION_GIVEN if assertion.operation == "Reg" else AUTHENTICATION_GIVEN
    report = inspect(message(assertion, **around), **{**whole, **given})
    assert failures(report) == broken
    assert not report.verified(strict=False)


def test_a_transaction_is_compared_with_those_given() -> None:
    given = {"registrations": [RECORD], "transactions": [base64url.encode(b"other"), PAY]}
    assert inspect(message(CONFIRMED), **given).verified(strict=True)


def test_a_response_without_assertions_fails() -> None:
    assert failures(inspect(message())) == {"assertions"}


def test_what_is_said_has_the_names_of_the_registry_beside_the_numbers() -> None:
    given = message(REGISTRATION.with_(algorithm=99), header={"exts": [EXT]})
    says = inspect(given).assertions[0].says
    assert says["signatureAlgorithm"] == "99"
    assert says["publicKeyFormat"] == "0x100 ECC_X962_RAW"
    assert says["attestationType"] == "0x3E07 BASIC_FULL"
    assert [certificate["subject"] for certificate in says["certificates"]] == ["CN=leaf", "CN=middle"]
    assert inspect(message(SURROGATE_REGISTRATION)).assertions[0].says["certificates"] == []


def details(report: ResponseReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.all_checks}


def test_a_check_says_why() -> None:
    report = inspect(message(REGISTRATION.with_(algorithm=99)))
    assert details(report)["attestation signature"] == "algorithm not supported: 99"
    report = inspect(message(CONFIRMED), registrations=[{**RECORD, "sigAlg": 2}], transactions=[PAY])
    assert details(report)["stored key"] == "registered for another algorithm"
    assert details(report)["transaction"] == "confirmed"
    assert details(inspect(message(AUTHENTICATION)))["transaction"] == "none"


def test_a_header_need_not_name_the_app_id() -> None:
    report = inspect(message(REGISTRATION, header={"appID": ""}), roots=[ROOT])
    assert report.verified(strict=True)
    assert (report.says["appID"], details(report)["fcParams"]) == ("", "")


def test_one_bad_assertion_of_two_fails_the_whole() -> None:
    report = inspect(message(AUTHENTICATION, AUTHENTICATION.with_(signature=bytes(64))), registrations=[RECORD])
    assert [failures_of(report, index) for index in (0, 1)] == [set(), {"signature"}]
    assert not report.verified(strict=False)


def failures_of(report: ResponseReport, index: int) -> set[str]:
    return {check.name for check in report.assertions[index].checks if check.outcome is Outcome.FAILED}


@pytest.mark.parametrize(
    ("wrapper", "where"),
    [
        ({"assertion": "*"}, "assertions[0].assertion"),
        ({"assertion": ""}, "assertions[0].assertion"),
        ({"assertion": base64url.encode(REGISTRATION.encode())}, "assertions[0].assertion"),
    ],
)
def test_a_malformed_assertion_says_where(wrapper: dict[str, Any], where: str) -> None:
    with pytest.raises(MalformedError) as caught:
        inspect(message(AUTHENTICATION, wrapper=wrapper))
    assert caught.value.where == where


def test_a_deregistration_is_no_response() -> None:
    with pytest.raises(MalformedError, match="neither Reg nor Auth"):
        inspect(message(AUTHENTICATION, header={"op": "Dereg"}))


# The published examples


@pytest.mark.parametrize("name", vectors())
def test_the_published_examples_verify(name: str) -> None:
    example = vectors()[name]
    report = inspect(**example)
    assert report.verified(strict=False)
    assert report.verified(strict=True) is (example["operation"] == "Auth")
    assert outcomes(report)["FCHash"] == ("ok" if example["fcParamsPublished"] else "not checked")


def test_the_algorithm_of_a_key_is_said_where_its_format_leaves_one_open() -> None:
    assert details(inspect(**vectors()["samsung-1-reg"]))["public key"].startswith("of SECP256K1_ECDSA_SHA256_DER")
    assert "RSASSA_PSS_SHA256_DER" in details(inspect(**vectors()["raon-reg"]))["public key"]


def test_a_certificate_is_judged_at_the_time_given() -> None:
    example = vectors()["dds-reg"]
    leaf = base64.b64encode(leaf_of(example)).decode()
    assert inspect(**example, roots=[leaf], at="2016-01-01").verified(strict=False)
    assert failures(inspect(**example, roots=[leaf], at="2026-01-01")) == {"attestation chain"}


def leaf_of(example: dict[str, Any]) -> bytes:
    raw = base64url.decode(example["response"][0]["assertions"][0]["assertion"])
    return parse_registration_assertion(raw).attestation_certificates[0]


def test_the_seeds_example_does_not_verify() -> None:
    report = inspect(seed_request_body("002")["uafResponse"])
    assert failures(report) == {"transaction", "FCHash"}
    assert report.assertions[0].says["keyID"] == base64url.encode(b"keyId")
    registered = {**RECORD, "aaid": "ABCD#ABCD", "keyID": base64url.encode(b"keyId"), "sigAlg": 9}
    report = inspect(seed_request_body("002")["uafResponse"], registrations=[registered])
    assert "signature" in failures(report)
