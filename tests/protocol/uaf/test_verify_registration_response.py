from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.channel_binding import ChannelRule
from fidoloop.protocol.uaf.expectations import Expected
from fidoloop.protocol.uaf.extensions import SESSION_ID
from fidoloop.protocol.uaf.messages import decode_response
from fidoloop.protocol.uaf.metadata import MetadataEntry
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.status import StatusCode, UafRefusal
from fidoloop.protocol.uaf.verify_registration_response import RegisteredKey, verify_registration_response

from ..builders import (
    AAID,
    APP_ID,
    AT,
    AUTHENTICATION,
    CHALLENGE,
    FACET,
    OTHER_KEY,
    REGISTRATION,
    SURROGATE,
    SURROGATE_REGISTRATION,
    USER_KEY,
    Assertion,
    entry,
    fc_params,
    message,
    p256,
    point,
    spki,
    tlv,
)

KEY_ID = base64url.encode(b"k" * 32)
EXPECTED = Expected(app_id=APP_ID, challenge=CHALLENGE, trusted_facets=frozenset({FACET}))
ANY = Policy(accepted=((MatchCriteria(),),))
CRITICAL = tlv(0x3E11, tlv(0x2E13, b"unheard.of"), tlv(0x2E14, b""))
IGNORABLE = tlv(0x3E12, tlv(0x2E13, b"unheard.of"), tlv(0x2E14, b""))


def models(*entries: MetadataEntry) -> Callable[[str], MetadataEntry | None]:
    return {entry.statement.aaid: entry for entry in entries}.get


def verify(text: str, **changes: Any) -> tuple[RegisteredKey, ...]:  # noqa: ANN401 - any argument
    arguments: dict[str, Any] = {
        "expected": EXPECTED,
        "policy": ANY,
        "metadata": models(entry()),
        "already_registered": frozenset(),
        "at": AT,
        **changes,
    }
    return verify_registration_response(decode_response(text), **arguments)


def refusal(text: str, **changes: Any) -> tuple[StatusCode, str]:  # noqa: ANN401 - any argument
    with pytest.raises(UafRefusal) as caught:
        verify(text, **changes)
    return caught.value.status, caught.value.detail


def test_a_registration_yields_the_key_to_store() -> None:
    (key,) = verify(message(REGISTRATION.with_(counters=(3, 2), version=5)))
    assert key == RegisteredKey(
        aaid=AAID,
        key_id=KEY_ID,
        public_key=point(p256(USER_KEY)),
        public_key_format=0x100,
        signature_algorithm=1,
        authenticator_version=5,
        sign_counter=3,
        registration_counter=2,
        attestation_type=0x3E07,
    )


SURROGATE_MODEL = entry(**SURROGATE)
DER_MODEL = entry(authenticationAlgorithm=2, publicKeyAlgAndEncoding=0x101)
ACCEPTED: dict[str, tuple[Assertion, dict[str, Any], dict[str, Any]]] = {
    "surrogate": (SURROGATE_REGISTRATION, {}, {"metadata": models(SURROGATE_MODEL)}),
    "DER and SPKI": (
        REGISTRATION.with_(algorithm=2, key_format=0x101, public_key=spki(p256(USER_KEY))),
        {},
        {"metadata": models(DER_MODEL)},
    ),
    "attestation of another algorithm than the key's": (
        REGISTRATION.with_(algorithm=1, key_format=0x101, public_key=spki(p256(USER_KEY))),
        {},
        {"metadata": models(DER_MODEL)},
    ),
    "counters 0": (REGISTRATION.with_(counters=(0, 0)), {}, {}),
    "header without appID": (REGISTRATION, {"header": {"appID": ""}}, {}),
    "ignorable extensions": (REGISTRATION.with_(inside=IGNORABLE, beside=IGNORABLE), {}, {}),
    "known header extension": (
        REGISTRATION,
        {"header": {"exts": [{"id": SESSION_ID, "data": "x", "fail_if_unknown": True}]}},
        {},
    ),
    "lower case AAID": (REGISTRATION.with_(aaid=b"f10b#0113"), {}, {}),
    "another key registered": (REGISTRATION, {}, {"already_registered": {(AAID, "other")}}),
    "padded fcParams": (REGISTRATION.with_(fc_params=fc_params() + "=" * (-len(fc_params()) % 4)), {}, {}),
    "bad status superseded": (
        REGISTRATION,
        {},
        {"metadata": models(entry(statuses=("USER_VERIFICATION_BYPASS", "UPDATE_AVAILABLE")))},
    ),
    "channel bound": (
        REGISTRATION.with_(fc_params=fc_params(channelBinding={"tlsUnique": "x"})),
        {},
        {
            "expected": Expected(
                app_id=APP_ID,
                challenge=CHALLENGE,
                trusted_facets=frozenset({FACET}),
                channel_binding=ChannelRule(required="tlsUnique", accepted={"tlsUnique": frozenset({"x"})}),
            )
        },
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_rules_allow_is_accepted(case: str) -> None:
    assertion, around, changes = ACCEPTED[case]
    assert len(verify(message(assertion, **around), **changes)) == 1


BOUND = Expected(
    app_id=APP_ID,
    challenge=CHALLENGE,
    trusted_facets=frozenset({FACET}),
    channel_binding=ChannelRule(required="serverEndPoint", accepted={"serverEndPoint": frozenset({"x"})}),
)
CONTENT = StatusCode.UNACCEPTABLE_CONTENT
EXT = {"id": "unheard.of", "data": "", "fail_if_unknown": True}

# What is wrong: the assertion, what stands around it, what the server knows, and HTTP contract 11a's code.
REFUSED: dict[str, tuple[Assertion, dict[str, Any], dict[str, Any], StatusCode, str]] = {
    "version not offered": (
        REGISTRATION,
        {"header": {"upv": {"major": 1, "minor": 0}}},
        {},
        StatusCode.REQUEST_INVALID,
        "upv",
    ),
    "other operation": (REGISTRATION, {"header": {"op": "Auth"}}, {}, CONTENT, "header.op"),
    "required header extension": (REGISTRATION, {"header": {"exts": [EXT]}}, {}, CONTENT, "header.exts"),
    "required assertion extension around": (REGISTRATION, {"wrapper": {"exts": [EXT]}}, {}, CONTENT, "extension"),
    "required extension signed": (REGISTRATION.with_(inside=CRITICAL), {}, {}, CONTENT, "extension"),
    "required extension unsigned": (REGISTRATION.with_(beside=CRITICAL), {}, {}, CONTENT, "extension"),
    "fcParams unreadable": (REGISTRATION, {"params": "e30"}, {}, CONTENT, "fcParams"),
    "header of a foreign appID": (
        REGISTRATION,
        {"header": {"appID": "https://evil.example"}},
        {},
        CONTENT,
        "header.appID",
    ),
    "foreign appID": (REGISTRATION.with_(fc_params=fc_params(appID="https://evil.example")), {}, {}, CONTENT, "appID"),
    "untrusted facet": (REGISTRATION.with_(fc_params=fc_params(facetID=FACET + "d")), {}, {}, CONTENT, "facetID"),
    "channel binding": (REGISTRATION, {}, {"expected": BOUND}, StatusCode.CHANNEL_BINDING_REFUSED, "serverEndPoint"),
    "other challenge": (
        REGISTRATION.with_(fc_params=fc_params(challenge=CHALLENGE[:-2] + "AA")),
        {},
        {},
        StatusCode.REQUEST_INVALID,
        "challenge",
    ),
    "scheme": (REGISTRATION, {"wrapper": {"assertionScheme": "UAFV2TLV"}}, {}, CONTENT, "assertionScheme"),
    "assertion empty": (REGISTRATION, {"wrapper": {"assertion": ""}}, {}, CONTENT, "UAFV1_REG_ASSERTION"),
    "assertion not base64url": (REGISTRATION, {"wrapper": {"assertion": "*"}}, {}, CONTENT, "base64url"),
    "assertion cut": (
        REGISTRATION,
        {"wrapper": {"assertion": base64url.encode(REGISTRATION.encode()[:-1])}},
        {},
        CONTENT,
        "past the end",
    ),
    "authentication assertion": (
        REGISTRATION,
        {"wrapper": {"assertion": base64url.encode(AUTHENTICATION.encode())}},
        {},
        CONTENT,
        "does not start",
    ),
    "unknown AAID": (REGISTRATION.with_(aaid=b"FFFF#FFFF"), {}, {}, StatusCode.UNKNOWN_AAID, "FFFF#FFFF"),
    "revoked": (
        REGISTRATION,
        {},
        {"metadata": models(entry(statuses=("REVOKED",)))},
        StatusCode.REVOKED_AUTHENTICATOR,
        "REVOKED",
    ),
    "disallowed": (
        REGISTRATION,
        {},
        {"policy": Policy(accepted=((MatchCriteria(),),), disallowed=(MatchCriteria(keyIDs=(KEY_ID,)),))},
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "disallowed",
    ),
    "policy not met": (
        REGISTRATION,
        {},
        {"policy": Policy(accepted=((MatchCriteria(userVerification=2),),))},
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "policy",
    ),
    "attestation type not the policy's": (
        REGISTRATION,
        {},
        {
            "policy": Policy(accepted=((MatchCriteria(attestationTypes=(0x3E08,)),),)),
            "metadata": models(entry(attestationTypes=[0x3E07, 0x3E08])),
        },
        StatusCode.UNACCEPTABLE_ATTESTATION,
        "prefers",
    ),
    "FCHash": (REGISTRATION.with_(hash=bytes(32)), {}, {}, CONTENT, "FINAL_CHALLENGE_HASH"),
    "FCHash empty": (REGISTRATION.with_(hash=b""), {}, {}, CONTENT, "FINAL_CHALLENGE_HASH"),
    "fcParams altered after signing": (
        REGISTRATION,
        {"params": fc_params(channelBinding={"tlsUnique": "x"})},
        {},
        CONTENT,
        "FINAL_CHALLENGE_HASH",
    ),
    "KeyID short": (REGISTRATION.with_(key_id=b"k" * 31), {}, {}, CONTENT, "KEYID"),
    "KeyID long": (REGISTRATION.with_(key_id=b"k" * 2049), {}, {}, CONTENT, "KEYID"),
    "mode 0": (REGISTRATION.with_(mode=0), {}, {}, CONTENT, "mode 0"),
    "mode 2": (REGISTRATION.with_(mode=2), {}, {}, CONTENT, "mode 2"),
    "version below the model's": (
        REGISTRATION,
        {},
        {"metadata": models(entry(authenticatorVersion=2))},
        StatusCode.UNACCEPTABLE_AUTHENTICATOR,
        "version",
    ),
    "registration counter": (REGISTRATION.with_(counters=(1, 2**32 - 1)), {}, {}, CONTENT, "counter"),
    "attestation type not the model's": (
        SURROGATE_REGISTRATION,
        {},
        {},
        StatusCode.UNACCEPTABLE_ATTESTATION,
        "type",
    ),
    "algorithm of the model not supported": (
        REGISTRATION,
        {},
        {"metadata": models(entry(authenticationAlgorithm=7))},
        StatusCode.UNACCEPTABLE_ALGORITHM,
        "not supported",
    ),
    "algorithm of the attestation not supported": (
        REGISTRATION.with_(algorithm=7),
        {},
        {},
        StatusCode.UNACCEPTABLE_ALGORITHM,
        "not supported",
    ),
    "surrogate algorithm not the model's": (
        SURROGATE_REGISTRATION.with_(algorithm=2),
        {},
        {"metadata": models(SURROGATE_MODEL)},
        StatusCode.UNACCEPTABLE_ALGORITHM,
        "not the model's",
    ),
    "key format not the model's": (
        REGISTRATION.with_(key_format=0x101, public_key=spki(p256(USER_KEY))),
        {},
        {},
        StatusCode.UNACCEPTABLE_KEY,
        "format",
    ),
    "key unusable": (REGISTRATION.with_(public_key=b"\x04" + bytes(64)), {}, {}, StatusCode.UNACCEPTABLE_KEY, "key"),
    "no roots": (
        REGISTRATION,
        {},
        {"metadata": models(entry(attestationRootCertificates=[]))},
        StatusCode.UNACCEPTABLE_ATTESTATION,
        "root",
    ),
    "certificate expired": (
        REGISTRATION,
        {},
        {"at": AT + timedelta(days=2)},
        StatusCode.UNACCEPTABLE_ATTESTATION,
        "validity",
    ),
    "certificate empty": (REGISTRATION.with_(chain=(b"",)), {}, {}, StatusCode.UNACCEPTABLE_ATTESTATION, "X.509"),
    "no certificate": (REGISTRATION.with_(chain=()), {}, {}, StatusCode.UNACCEPTABLE_ATTESTATION, "0 attestation"),
    "attested by the registered key": (REGISTRATION.with_(attestation_key=p256(USER_KEY)), {}, {}, CONTENT, "verify"),
    "attested by another key": (REGISTRATION.with_(attestation_key=p256(OTHER_KEY)), {}, {}, CONTENT, "verify"),
    "surrogate by another key": (
        SURROGATE_REGISTRATION.with_(public_key=point(p256(OTHER_KEY))),
        {},
        {"metadata": models(SURROGATE_MODEL)},
        CONTENT,
        "verify",
    ),
    "registered already": (REGISTRATION, {}, {"already_registered": {(AAID, KEY_ID)}}, CONTENT, "already"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_broken_rule_refuses_with_its_code(case: str) -> None:
    assertion, around, changes, status, reason = REFUSED[case]
    found, detail = refusal(message(assertion, **around), **changes)
    assert found is status
    assert reason in detail


def test_a_response_without_assertions_is_refused() -> None:
    status, detail = refusal(message(header={"op": "Reg"}))
    assert (status, detail) == (CONTENT, "no assertions")


SECOND = REGISTRATION.with_(key_id=b"2" * 32, key=p256(OTHER_KEY))
BAD = REGISTRATION.with_(key_id=b"3" * 32, hash=bytes(32))
UNKNOWN = REGISTRATION.with_(key_id=b"4" * 32, aaid=b"FFFF#FFFF")


def test_an_assertion_that_fails_is_skipped_where_another_meets_the_policy() -> None:
    (key,) = verify(message(BAD, SECOND))
    assert key.key_id == base64url.encode(b"2" * 32)


def test_of_several_failing_assertions_the_first_ones_code_counts() -> None:
    assert refusal(message(BAD, UNKNOWN))[0] is CONTENT
    assert refusal(message(UNKNOWN, BAD))[0] is StatusCode.UNKNOWN_AAID


def test_a_malformed_assertion_refuses_the_whole_message() -> None:
    assert refusal(message(REGISTRATION, REGISTRATION.with_(aaid=b"?")))[0] is CONTENT


def test_a_set_needed_together_is_registered_whole_or_not_at_all() -> None:
    both = Policy(accepted=((MatchCriteria(), MatchCriteria()),))
    assert [key.key_id[:4] for key in verify(message(REGISTRATION, SECOND), policy=both)] == ["a2tr", "MjIy"]
    assert refusal(message(REGISTRATION), policy=both)[0] is StatusCode.UNACCEPTABLE_AUTHENTICATOR
    assert refusal(message(REGISTRATION, BAD), policy=both)[0] is CONTENT


def test_only_what_the_policy_needs_is_registered() -> None:
    assert len(verify(message(REGISTRATION, SECOND))) == 1


def test_one_key_id_twice_is_no_set_of_two() -> None:
    both = Policy(accepted=((MatchCriteria(), MatchCriteria()),))
    assert refusal(message(REGISTRATION, REGISTRATION), policy=both)[0] is CONTENT
