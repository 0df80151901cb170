import json
from importlib import resources
from typing import Any

import pytest

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, MatchCriteria, Policy, narrow
from fidoloop.protocol.uaf.policy_rules import check_policy
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.signatures import SUPPORTED
from fidoloop.server.policies import shipped_policies

KEY_ID = base64url.encode(b"k" * 32)
BOTH = {"authenticationAlgorithms": [1], "assertionSchemes": ["UAFV1TLV"]}
OF_AN_AAID: dict[str, Any] = {
    "keyIDs": [KEY_ID],
    "attachmentHint": 1,
    "authenticatorVersion": 2,
    "exts": [{"id": "x", "data": "", "fail_if_unknown": False}],
}
NOT_OF_AN_AAID: dict[str, Any] = {
    "vendorID": ["F10B"],
    "userVerification": 2,
    "keyProtection": 2,
    "matcherProtection": 2,
    "tcDisplay": 1,
    "authenticationAlgorithms": [1],
    "assertionSchemes": ["UAFV1TLV"],
    "attestationTypes": [0x3E07],
}


def policy(criteria: dict[str, Any], *, disallowed: bool = False) -> Policy:
    accepted: dict[str, Any] = {"accepted": [[{"aaid": ["F10B#0111"]}]], "disallowed": [criteria]}
    return strictjson.decode(json.dumps(accepted if disallowed else {"accepted": [[criteria]]}), Policy)


def refusal(criteria: dict[str, Any], *, disallowed: bool = False) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        check_policy(policy(criteria, disallowed=disallowed), "$.policy")
    return caught.value


def test_an_aaid_may_stand_alone() -> None:
    check_policy(policy({"aaid": ["F10B#0111", "abcd#0001"]}))


@pytest.mark.parametrize("member", OF_AN_AAID)
def test_what_an_aaid_does_not_say_may_stand_beside_it(member: str) -> None:
    check_policy(policy({"aaid": ["F10B#0111"], member: OF_AN_AAID[member]}))


@pytest.mark.parametrize("disallowed", [False, True], ids=["accepted", "disallowed"])
@pytest.mark.parametrize("member", NOT_OF_AN_AAID)
def test_what_an_aaid_says_may_not_stand_beside_it(member: str, disallowed: bool) -> None:
    found = refusal({"aaid": ["F10B#0111"], member: NOT_OF_AN_AAID[member]}, disallowed=disallowed)
    place = "disallowed[0]" if disallowed else "accepted[0][0]"
    assert (found.where, found.what) == (f"$.policy.{place}.{member}", "may not stand beside aaid")


@pytest.mark.parametrize("member", [*OF_AN_AAID, *NOT_OF_AN_AAID])
def test_every_member_may_stand_beside_algorithms_and_schemes(member: str) -> None:
    check_policy(policy({**BOTH, member: {**OF_AN_AAID, **NOT_OF_AN_AAID}[member]}))


@pytest.mark.parametrize("missing", BOTH)
@pytest.mark.parametrize("disallowed", [False, True], ids=["accepted", "disallowed"])
def test_without_an_aaid_algorithms_and_schemes_must_be_there(missing: str, disallowed: bool) -> None:
    criteria = {name: value for name, value in BOTH.items() if name != missing} | {"userVerification": 2}
    assert refusal(criteria, disallowed=disallowed).where.endswith(f".{missing}")


def test_the_loose_criteria_of_the_specifications_examples_is_not_written() -> None:
    assert refusal({"userVerification": 1023}).what == "is required where there is no aaid"
    assert refusal({}).what == "is required where there is no aaid"


@pytest.mark.parametrize(
    ("criteria", "where"),
    [
        ({"aaid": ["F10B#0111", "F10B0111"]}, "aaid[1]"),
        ({"aaid": ["F10B#011G"]}, "aaid[0]"),
        ({**BOTH, "vendorID": "F10B"}, "vendorID"),
        ({**BOTH, "vendorID": ["F10B", "F10"]}, "vendorID[1]"),
        ({"aaid": ["F10B#0111"], "keyIDs": ["*"]}, "keyIDs[0]"),
        ({"aaid": ["F10B#0111"], "keyIDs": [KEY_ID + "="]}, "keyIDs[0]"),
        ({"aaid": ["F10B#0111"], "keyIDs": [KEY_ID, base64url.encode(b"k" * 31)]}, "keyIDs[1]"),
        ({"aaid": ["F10B#0111"], "keyIDs": [base64url.encode(b"k" * 2049)]}, "keyIDs[0]"),
    ],
)
def test_a_value_of_another_form_is_not_written(criteria: dict[str, Any], where: str) -> None:
    assert refusal(criteria).where.endswith(where)


def test_the_shipped_policies_accept_every_algorithm_that_is_verified() -> None:
    for name, shipped in shipped_policies().items():
        for alternative in shipped.policy.accepted:
            for criteria in alternative:
                # SM2, which is refused, stands in the contract's example.
                assert set(criteria.authenticationAlgorithms or ()) == SUPPORTED | {Algorithm.SM2_SM3_RAW}, name


def test_the_shipped_policies_keep_to_the_rules() -> None:
    files = [file for file in resources.files("fidoloop.server.policies").iterdir() if file.name.endswith(".json")]
    assert len(files) >= 4
    for file in files:
        check_policy(strictjson.decode(file.read_bytes(), Policy))


def test_a_policy_narrowed_for_step_up_keeps_to_the_rules() -> None:
    held = AuthenticatorFacts(
        "F10B#0111",
        frozenset({KEY_ID}),
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
    narrowed = narrow(Policy(accepted=((MatchCriteria(userVerification=4),),)), [held])
    assert narrowed is not None
    check_policy(narrowed)
