"""Versions, the AppID for which the FacetID stands in, first factors, status reports by day, what is kept."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import pytest

from fidoloop.protocol.uaf.messages import DisplayPngCharacteristics, Version
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.protocol.uaf.user_verification_methods import UserVerificationMethod

from ..builders import AUTHENTICATION, FACET, REGISTRATION, Assertion, entry, fc_params, message, statement, tlv
from .verifying import authenticate, expected, models, refused, register

V1_0, V1_1 = Version(1, 0), Version(1, 1)
BOTH: dict[str, tuple[Assertion, Callable[..., tuple[Any, ...]]]] = {
    "Reg": (REGISTRATION, register),
    "Auth": (AUTHENTICATION, authenticate),
}
EACH_OPERATION = pytest.mark.parametrize("operation", BOTH)


@EACH_OPERATION
@pytest.mark.parametrize("minor", [0, 1])
def test_a_header_of_each_version_offered_is_taken(operation: str, minor: int) -> None:
    assertion, verify = BOTH[operation]
    text = message(assertion, header={"upv": {"major": 1, "minor": minor}})
    assert verify(text, expected=expected(versions=(V1_1, V1_0)))


@EACH_OPERATION
@pytest.mark.parametrize(
    ("offered", "upv"), [((V1_1,), (1, 0)), ((V1_0,), (1, 1)), ((V1_1, V1_0), (2, 0)), ((V1_0,), (0, 0))]
)
def test_a_version_that_was_not_offered_is_an_invalid_request(
    operation: str, offered: tuple[Version, ...], upv: tuple[int, int]
) -> None:
    assertion, verify = BOTH[operation]
    text = message(assertion, header={"upv": {"major": upv[0], "minor": upv[1]}})
    assert refused(verify, text, expected=expected(versions=offered))[0] is StatusCode.REQUEST_INVALID


@EACH_OPERATION
def test_where_the_request_named_no_app_id_the_facet_takes_its_place(operation: str) -> None:
    assertion, verify = BOTH[operation]
    own = assertion.with_(fc_params=fc_params(appID=FACET))
    assert verify(message(own, header={"appID": ""}), expected=expected(app_id=""))
    for other in (assertion, assertion.with_(fc_params=fc_params(appID="https://evil.example"))):
        text = message(other, header={"appID": ""})
        status, detail = refused(verify, text, expected=expected(app_id=""))
        assert (status, detail) == (StatusCode.UNACCEPTABLE_CONTENT, "fcParams.appID is not this server's")


NO_FIRST_FACTOR: dict[str, dict[str, Any]] = {
    "second factor": {"isSecondFactorOnly": True},
    "silent": {"userVerificationDetails": [[{"userVerification": 0x200}]]},
}


@pytest.mark.parametrize("case", NO_FIRST_FACTOR)
def test_who_the_user_is_is_told_by_a_first_factor_only(case: str) -> None:
    model = models(entry(**NO_FIRST_FACTOR[case]))
    status, detail = refused(authenticate, message(AUTHENTICATION), metadata=model)
    assert (status, detail) == (
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "F10B#0113 is no first factor: the user must be known before",
    )
    assert authenticate(message(AUTHENTICATION), metadata=model, expected_owner="jeff")


def reported(status: str, **more: object) -> Any:  # noqa: ANN401 - what `models` returns
    document = {"metadataStatement": statement(), "statusReports": [{"status": status, **more}]}
    return models(parse_metadata(json.dumps(document).encode()))


BAD = [
    "REVOKED",
    "USER_VERIFICATION_BYPASS",
    "ATTESTATION_KEY_COMPROMISE",
    "USER_KEY_REMOTE_COMPROMISE",
    "USER_KEY_PHYSICAL_COMPROMISE",
]


@EACH_OPERATION
@pytest.mark.parametrize("status", BAD)
def test_a_model_that_is_revoked_or_broken_is_refused(operation: str, status: str) -> None:
    assertion, verify = BOTH[operation]
    found = refused(verify, message(assertion), metadata=reported(status))
    assert found == (StatusCode.REVOKED_AUTHENTICATOR, f"F10B#0113: {status}")


@EACH_OPERATION
def test_a_report_counts_from_its_day_and_for_its_version_on(operation: str) -> None:
    assertion, verify = BOTH[operation]
    today: dict[str, Any] = {} if operation == "Reg" else {"on": date(2026, 1, 1)}
    later = reported("REVOKED", effectiveDate="2026-01-02")
    assert verify(message(assertion), metadata=later, **today)
    now = reported("REVOKED", effectiveDate="2026-01-01")
    assert refused(verify, message(assertion), metadata=now, **today)[0] is StatusCode.REVOKED_AUTHENTICATOR
    newer = reported("REVOKED", authenticatorVersion=2)
    assert verify(message(assertion), metadata=newer, **today)
    status, _ = refused(verify, message(assertion.with_(version=2)), metadata=newer, **today)
    assert status is StatusCode.REVOKED_AUTHENTICATOR


def test_without_a_day_a_report_to_come_counts_for_an_authentication() -> None:
    later = reported("REVOKED", effectiveDate="2999-01-01")
    assert refused(authenticate, message(AUTHENTICATION), metadata=later)[0] is StatusCode.REVOKED_AUTHENTICATOR


# fido.uaf.uvm: PIN (4), key and matcher in software (1)


def uvm(data: str = "0400000001000100") -> bytes:
    return tlv(0x3E12, tlv(0x2E13, b"fido.uaf.uvm"), tlv(0x2E14, bytes.fromhex(data)))


METHODS = (UserVerificationMethod(4, 1, 1),)


@EACH_OPERATION
def test_how_the_user_was_verified_is_kept_where_it_is_signed(operation: str) -> None:
    assertion, verify = BOTH[operation]
    assert verify(message(assertion.with_(inside=uvm())))[0].methods == METHODS
    assert verify(message(assertion.with_(beside=uvm())))[0].methods == ()
    assert verify(message(assertion))[0].methods == ()


@EACH_OPERATION
@pytest.mark.parametrize("data", ["", "04000000010001", "0200000001000100", "0400000002000100", "0400000001000200"])
def test_a_method_that_is_not_the_models_is_refused(operation: str, data: str) -> None:
    assertion, verify = BOTH[operation]
    status, detail = refused(verify, message(assertion.with_(inside=uvm(data))))
    assert status is StatusCode.UNACCEPTABLE_CONTENT
    assert detail.startswith("fido.uaf.uvm: ")


@EACH_OPERATION
def test_an_extension_that_must_be_understood_is_where_it_is_known(operation: str) -> None:
    assertion, verify = BOTH[operation]
    critical = tlv(0x3E11, uvm()[4:])
    assert verify(message(assertion.with_(inside=critical)))
    known: dict[str, object] = {"exts": [{"id": "fido.uaf.uvm", "data": "", "fail_if_unknown": True}]}
    assert verify(message(assertion, header=known, wrapper=known))


def test_the_displays_of_a_registration_are_kept() -> None:
    display = DisplayPngCharacteristics(320, 480, bitDepth=16, colorType=2, compression=0, filter=0, interlace=0)
    text = message(REGISTRATION, wrapper={"tcDisplayPNGCharacteristics": [msgspec.to_builtins(display)]})
    assert register(text)[0].display_characteristics == (display,)
    assert register(message(REGISTRATION))[0].display_characteristics == ()


def test_of_several_assertions_a_broken_one_is_skipped_and_a_set_is_taken_whole() -> None:
    second = REGISTRATION.with_(key_id=b"2" * 32)
    broken = REGISTRATION.with_(key_id=b"3" * 32, signature=bytes(64))
    both = Policy(accepted=((MatchCriteria(), MatchCriteria()),))
    assert len(register(message(REGISTRATION, broken, second), policy=both)) == 2
    assert refused(register, message(REGISTRATION, broken), policy=both)[0] is StatusCode.UNACCEPTABLE_CONTENT
