"""What the FIDO conformance tool is publicly known to test (digest 3.7); numbers are those of its issue threads.

What belongs to the client, the ASM and the server's services is tested in their rooms.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.extensions import first_unknown_required
from fidoloop.protocol.uaf.messages import (
    V1_1,
    DeregistrationRequest,
    OperationHeader,
    RegistrationRequest,
    decode_request,
    decode_response,
    encode_message,
)
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.policy import (
    AuthenticatorFacts,
    MatchCriteria,
    Policy,
    disallowed,
    matches,
    narrow,
    policy_extensions,
)
from fidoloop.protocol.uaf.policy_rules import check_policy
from fidoloop.protocol.uaf.status import StatusCode
from fidoloop.protocol.uaf.transactions import transaction_content_hash

from ..builders import (
    APP_ID,
    AUTHENTICATION,
    REGISTRATION,
    SURROGATE,
    USER_KEY,
    Assertion,
    entry,
    fc_params,
    message,
    p256,
    root,
    statement,
    tlv,
    to_der,
)
from ..signers import sign
from .verifying import KEY_ID, authenticate, models, refused, register, stored

CONTENT = StatusCode.UNACCEPTABLE_CONTENT
BOTH: dict[str, tuple[Assertion, Callable[..., tuple[Any, ...]]]] = {
    "Reg": (REGISTRATION, register),
    "Auth": (AUTHENTICATION, authenticate),
}
EACH_OPERATION = pytest.mark.parametrize("operation", BOTH)


def facts(aaid: str, *key_ids: str) -> AuthenticatorFacts:
    return AuthenticatorFacts(
        aaid,
        frozenset(key_ids),
        4,
        1,
        1,
        None,
        1,
        frozenset({1}),
        frozenset({"UAFV1TLV"}),
        frozenset({0x3E07}),
        1,
    )


# Server: requests


def test_21_44_an_aaid_may_stand_alone_in_a_criteria() -> None:
    check_policy(Policy(accepted=((MatchCriteria(aaid=("FFFF#FC01",)),),)))


def test_400_449_attestation_types_are_an_array() -> None:
    policy = Policy(accepted=((MatchCriteria(attestationTypes=(0x3E07,)),),))
    header = OperationHeader(V1_1, "Reg", APP_ID)
    (sent,) = json.loads(encode_message(RegistrationRequest(header, "A" * 22, "jeff", policy)))
    assert sent["policy"]["accepted"] == [[{"attestationTypes": [15879]}]]
    with pytest.raises(MalformedError):
        strictjson.decode('{"accepted":[[{"attestationTypes":15879}]]}', Policy)


def test_19_26_a_key_that_is_disallowed_by_aaid_and_key_id_is_not_registered_again() -> None:
    registered = MatchCriteria(aaid=("F10B#0113",), keyIDs=(KEY_ID,))
    policy = Policy(accepted=((MatchCriteria(),),), disallowed=(registered,))
    check_policy(Policy(accepted=((MatchCriteria(aaid=("F10B#0113",)),),), disallowed=(registered,)))
    assert refused(register, message(REGISTRATION), policy=policy)[0] is StatusCode.UNACCEPTABLE_AUTHENTICATOR
    assert disallowed(policy, facts("F10B#0113", KEY_ID))
    assert register(message(REGISTRATION.with_(key_id=b"2" * 32)), policy=policy)


def test_54_20_key_ids_come_with_their_aaid() -> None:
    narrowed = narrow(Policy(accepted=((MatchCriteria(userVerification=4),),)), [facts("FFFF#FC01", KEY_ID)])
    assert narrowed == Policy(accepted=((MatchCriteria(aaid=("FFFF#FC01",), keyIDs=(KEY_ID,)),),))


def dereg(*entries: tuple[str, str]) -> str:
    authenticators = [{"aaid": aaid, "keyID": key_id} for aaid, key_id in entries]
    header = {"upv": {"major": 1, "minor": 1}, "op": "Dereg", "appID": APP_ID}
    return json.dumps([{"header": header, "authenticators": authenticators}])


@pytest.mark.parametrize(
    "entries", [[("FFFF#FC01", "a2V5")], [("ffff#fc01", "")], [("", "")], [("FFFF#FC01", "a"), ("FFFF#FC02", "b")]]
)
def test_53_55_a_deregistration_names_keys_all_of_an_aaid_or_all(entries: list[tuple[str, str]]) -> None:
    request = decode_request(dereg(*entries))
    assert isinstance(request, DeregistrationRequest)
    assert [(each.aaid, each.keyID) for each in request.authenticators] == entries


@pytest.mark.parametrize(
    "entries",
    [
        [("FFFF#FC0", "")],
        [("FFFF-FC01", "")],
        [("GFFF#FC01", "")],
        [("FFFF#FC01 ", "")],
        [("", "a2V5")],
        [("FFFF#FC01", ""), ("FFFF#FC02", "b")],
        [("FFFF#FC02", "b"), ("", "")],
    ],
)
def test_53_55_any_other_deregistration_is_malformed(entries: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedError):
        decode_request(dereg(*entries))


# Server: responses


@EACH_OPERATION
@pytest.mark.parametrize("text", ["", "*", "a+b/", "QQ==", "A"])
def test_39_46_an_assertion_that_is_empty_or_no_base64url_is_refused(operation: str, text: str) -> None:
    assertion, verify = BOTH[operation]
    assert refused(verify, message(assertion, wrapper={"assertion": text}))[0] is CONTENT


@EACH_OPERATION
@pytest.mark.parametrize(
    ("member", "value", "status"),
    [
        ("appID", "https://other.example", CONTENT),
        ("appID", "", CONTENT),
        ("appID", None, CONTENT),
        ("appID", "x" * 513, CONTENT),
        ("appID", 1, CONTENT),
        ("facetID", "https://other.example", CONTENT),
        ("facetID", "", CONTENT),
        ("facetID", None, CONTENT),
        ("challenge", "b3RoZXI", StatusCode.REQUEST_INVALID),
        ("challenge", "", CONTENT),
        ("challenge", None, CONTENT),
        ("channelBinding", None, CONTENT),
        ("channelBinding", "", CONTENT),
        ("channelBinding", [], CONTENT),
    ],
)
def test_8_a_wrong_member_of_final_challenge_params_is_refused(
    operation: str, member: str, value: object, status: StatusCode
) -> None:
    assertion, verify = BOTH[operation]
    text = message(assertion.with_(fc_params=fc_params(**{member: value})))
    assert refused(verify, text)[0] is status


@EACH_OPERATION
@pytest.mark.parametrize("params", ["*", base64url.encode(b"x"), base64url.encode(b"[]"), base64url.encode(b"{}")])
def test_8_final_challenge_params_that_are_none_are_refused(operation: str, params: str) -> None:
    assertion, verify = BOTH[operation]
    assert refused(verify, message(assertion.with_(fc_params=params)))[0] is CONTENT


@pytest.mark.parametrize("der", [b"", b"x", b"\x30\x00", to_der(root())[:-1]])
def test_642_a_certificate_that_is_empty_or_no_x509_is_refused(der: bytes) -> None:
    for chain in ((der,), (*REGISTRATION.chain, der)):
        status, _ = refused(register, message(REGISTRATION.with_(chain=chain)))
        assert status is StatusCode.UNACCEPTABLE_ATTESTATION


@pytest.mark.parametrize("mode", [0, 2])
def test_655_authentication_mode_0_or_2_without_transaction_is_refused(mode: int) -> None:
    for tc_hash in (b"", transaction_content_hash(b"Pay")):
        text = message(AUTHENTICATION.with_(mode=mode, tc_hash=tc_hash))
        assert refused(authenticate, text)[0] is CONTENT


@pytest.mark.parametrize("claimed", [2, 3, 5, 8])
def test_653_an_info_that_names_another_algorithm_than_was_used_is_refused(claimed: int) -> None:
    """The signature is right for algorithm 1; the signed ASSERTION_INFO says another."""
    made = AUTHENTICATION.with_(algorithm=claimed)
    text = message(made.with_(signature=sign(1, p256(USER_KEY), made.signed)))
    assert refused(authenticate, text)[0] is StatusCode.UNACCEPTABLE_ALGORITHM
    keys = stored(signature_algorithm=claimed)
    expected = CONTENT if claimed == 2 else StatusCode.UNACCEPTABLE_KEY
    assert refused(authenticate, text, keys=keys)[0] is expected


def test_48_an_altered_signature_is_refused() -> None:
    """Each algorithm with each key format: test_algorithms_and_formats."""
    for assertion, verify in BOTH.values():
        signature = assertion.sign()
        altered = assertion.with_(signature=signature[:-1] + bytes([signature[-1] ^ 1]))
        assert refused(verify, message(altered)) == (CONTENT, "the signature does not verify")


def test_74_metadata_of_surrogate_attestation_with_roots_is_invalid() -> None:
    with pytest.raises(MalformedError, match="attestationRootCertificates"):
        parse_metadata(json.dumps(statement(attestationTypes=[0x3E08])).encode())
    assert parse_metadata(json.dumps(statement(**SURROGATE)).encode()).roots == ()


def test_a_malformed_registration_tlv_is_unacceptable_content() -> None:
    for data in (b"\x01\x3e", tlv(0x3E01), tlv(0x3E01, tlv(0x3E03)), REGISTRATION.encode()[:-1]):
        text = message(REGISTRATION, wrapper={"assertion": base64url.encode(data)})
        assert refused(register, text)[0] is CONTENT


# Client: what reading a request decides


def reg(**criteria: object) -> str:
    header = {"upv": {"major": 1, "minor": 1}, "op": "Reg", "appID": APP_ID, "serverData": "x"}
    policy = {"accepted": [[criteria]]}
    return json.dumps([{"header": header, "challenge": "A" * 22, "username": "jeff", "policy": policy}])


def test_71_76_a_response_header_is_the_requests_and_only_the_params_are_filled() -> None:
    own = AUTHENTICATION.with_(fc_params=fc_params())
    assert authenticate(message(own, header={"appID": ""}))
    decoded = decode_response(message(own, header={"appID": ""}))
    assert decoded.header.appID == ""
    other = message(AUTHENTICATION, header={"appID": "https://other.example"})
    assert refused(authenticate, other) == (CONTENT, "header.appID is not this server's")


@pytest.mark.parametrize("place", ["accepted", "disallowed"])
def test_60_61_72_an_extension_that_must_be_understood_counts_inside_a_criteria_too(place: str) -> None:
    extension = {"id": "unheard.of", "data": "", "fail_if_unknown": True}
    members: dict[str, Any] = {"accepted": [[{}]], "disallowed": [{}]}
    criteria = members[place][0][0] if place == "accepted" else members[place][0]
    criteria["exts"] = [extension]
    policy = strictjson.decode(json.dumps(members), Policy)
    assert first_unknown_required(list(policy_extensions(policy))) == "unheard.of"


def test_83_one_that_need_not_be_understood_is_ignored_and_the_criteria_still_counts() -> None:
    text = '{"accepted":[[{"aaid":["FFFF#FC01"],"exts":[{"id":"x","data":"","fail_if_unknown":false}]}]]}'
    policy = strictjson.decode(text, Policy)
    assert first_unknown_required(list(policy_extensions(policy))) is None
    assert matches(policy.accepted[0][0], facts("FFFF#FC01"))
    assert not matches(policy.accepted[0][0], facts("FFFF#FC02"))


def test_141_an_aaid_that_is_no_array_is_malformed() -> None:
    assert decode_request(reg(aaid=["FFFF#FC01"])) is not None
    with pytest.raises(MalformedError, match="aaid"):
        decode_request(reg(aaid="FFFF#FC01"))


def test_27_a_request_of_versions_that_are_not_spoken_is_told_apart_from_a_malformed_one() -> None:
    assert decode_request(reg().replace('"minor": 1', '"minor": 9')) is None
    with pytest.raises(MalformedError):
        decode_request(reg().replace('"minor": 1', '"minor": "1"'))


def test_110_an_aaid_that_is_unknown_is_as_well_formed_as_any() -> None:
    assert decode_request(dereg(("0000#0000", "a2V5"))) is not None


def test_models_of_the_tools_range_are_taken_like_any_other() -> None:
    right = REGISTRATION.with_(aaid=b"FFFF#FC01")
    assert register(message(right), metadata=models(entry(aaid="FFFF#FC01")))
    assert refused(register, message(right))[0] is StatusCode.UNKNOWN_AAID
