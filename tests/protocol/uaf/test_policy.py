import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.policy import (
    MAX_ALTERNATIVES,
    AuthenticatorFacts,
    MatchCriteria,
    Policy,
    disallowed,
    matches,
    narrow,
    satisfying_set,
    user_verification_matches,
)

FACTS: dict[str, Any] = {
    "aaid": "F10B#0113",
    "key_ids": frozenset({"key-1"}),
    "user_verification": 0x04,
    "key_protection": 0x0A,
    "matcher_protection": 0x02,
    "attachment_hint": 0x01,
    "tc_display": 0x05,
    "algorithms": frozenset({1}),
    "assertion_schemes": frozenset({"UAFV1TLV"}),
    "attestation_types": frozenset({0x3E07, 0x3E08}),
    "version": 3,
}


def facts(**changes: object) -> AuthenticatorFacts:
    return AuthenticatorFacts(**{**FACTS, **changes})


def model(aaid: str, *key_ids: str, **changes: object) -> AuthenticatorFacts:
    return facts(aaid=aaid, key_ids=frozenset(key_ids), **changes)


@pytest.mark.parametrize(
    ("criteria", "met"),
    [
        ({}, True),
        ({"aaid": ("F10B#0113",)}, True),
        ({"aaid": ("f10b#0113",)}, True),
        ({"aaid": ("0000#0000", "F10B#0113")}, True),
        ({"aaid": ("F10B#0114",)}, False),
        ({"vendorID": ("f10b",)}, True),
        ({"vendorID": ("0000", "F10B")}, True),
        ({"vendorID": "f10b"}, True),
        ({"vendorID": ("0113",)}, False),
        ({"vendorID": "F10"}, False),
        ({"keyIDs": ("key-0", "key-1")}, True),
        ({"keyIDs": ("key-0",)}, False),
        ({"keyIDs": ("KEY-1",)}, False),
        ({"userVerification": 0x04}, True),
        ({"userVerification": 0x3FF}, True),
        ({"userVerification": 0x02}, False),
        ({"userVerification": 0x404}, False),
        ({"keyProtection": 0x02}, True),
        ({"keyProtection": 0x09}, True),
        ({"keyProtection": 0x05}, False),
        ({"matcherProtection": 0x03}, True),
        ({"matcherProtection": 0x01}, False),
        ({"attachmentHint": 0x03}, True),
        ({"attachmentHint": 0x02}, False),
        ({"tcDisplay": 0x04}, True),
        ({"tcDisplay": 0x02}, False),
        ({"authenticationAlgorithms": (2, 1)}, True),
        ({"authenticationAlgorithms": (2,)}, False),
        ({"assertionSchemes": ("X", "UAFV1TLV")}, True),
        ({"assertionSchemes": ("uafv1tlv",)}, False),
        ({"attestationTypes": (0x3E09, 0x3E08)}, True),
        ({"attestationTypes": (0x3E09,)}, False),
        ({"authenticatorVersion": 3}, True),
        ({"authenticatorVersion": 2}, True),
        ({"authenticatorVersion": 4}, False),
        ({"aaid": ("F10B#0113",), "keyIDs": ("key-0",)}, False),
        ({"aaid": ("F10B#0113",), "keyIDs": ("key-1",)}, True),
        ({"userVerification": 0x04, "tcDisplay": 0x02}, False),
    ],
)
def test_a_criteria_matches_when_every_member_does(criteria: dict[str, Any], met: bool) -> None:
    assert matches(MatchCriteria(**criteria), facts()) is met


def test_no_attachment_hint_known_decides_nothing() -> None:
    assert matches(MatchCriteria(attachmentHint=0x02), facts(attachment_hint=None))


def test_no_transaction_display_meets_no_wish_for_one() -> None:
    assert not matches(MatchCriteria(tcDisplay=0x1F), facts(tc_display=0))


@pytest.mark.parametrize(
    ("wanted", "offered", "met"),
    [
        (0x02, 0x02, True),
        (0x06, 0x02, True),
        (0x02, 0x06, True),
        (0x02, 0x04, False),
        (0x406, 0x406, True),
        (0x406, 0x06, False),
        (0x06, 0x406, False),
        (0x406, 0x402, False),
        (0x400, 0x400, True),
        (0x3FF, 0x402, False),
        (0, 0, True),
        (0, 2, False),
        (0x200, 0x200, True),
        (0x1FF, 0x200, False),
    ],
)
def test_user_verification_by_its_own_rule(wanted: int, offered: int, met: bool) -> None:
    assert user_verification_matches(wanted, offered) is met


A, B, C = model("AAAA#0001", "a"), model("BBBB#0001", "b"), model("CCCC#0001", "c")


def by(*names: str) -> MatchCriteria:
    return MatchCriteria(aaid=tuple(f"{name * 4}#0001" for name in names))


@pytest.mark.parametrize(
    ("accepted", "candidates", "chosen"),
    [
        (((by("A"),),), (A,), (0,)),
        (((by("A"),),), (B,), None),
        (((by("A"),),), (), None),
        (((by("A"),), (by("B"),)), (B, A), (1,)),
        (((by("B"),), (by("A"),)), (B, A), (0,)),
        (((by("C"),), (by("A"),)), (B, A), (1,)),
        (((by("A"), by("B")),), (A, B), (0, 1)),
        (((by("A"), by("B")),), (B, A), (1, 0)),
        (((by("A"), by("B")),), (A,), None),
        (((by("A"), by("A")),), (A,), None),
        (((by("A", "B"), by("A")),), (A, B), (1, 0)),
        (((by("A", "B"), by("A", "C"), by("A")),), (A, B, C), (1, 2, 0)),
        (((by("A"), by("B")), (by("A"),)), (A,), (0,)),
        (((by("A"),),), (C, B, A), (2,)),
    ],
)
def test_the_first_alternative_met_by_distinct_authenticators_is_chosen(
    accepted: tuple[tuple[MatchCriteria, ...], ...],
    candidates: tuple[AuthenticatorFacts, ...],
    chosen: tuple[int, ...] | None,
) -> None:
    assert satisfying_set(Policy(accepted=accepted), candidates) == chosen


@given(st.data())
def test_a_set_is_found_exactly_when_there_is_one(data: st.DataObject) -> None:
    criteria = st.sets(st.sampled_from("ABC"), min_size=1).map(lambda names: by(*names))
    alternative = data.draw(st.lists(criteria, min_size=1, max_size=4).map(tuple))
    candidates = data.draw(st.lists(st.sampled_from([A, B, C]), max_size=4))
    found = satisfying_set(Policy(accepted=(alternative,)), candidates)
    possible = any(
        all(matches(wanted, candidates[index]) for wanted, index in zip(alternative, order, strict=True))
        for order in itertools.permutations(range(len(candidates)), len(alternative))
    )
    assert (found is not None) is possible
    if found is not None:
        assert len(set(found)) == len(found)
        assert all(matches(wanted, candidates[index]) for wanted, index in zip(alternative, found, strict=True))


def test_a_disallowed_authenticator_satisfies_nothing() -> None:
    policy = Policy(accepted=((MatchCriteria(),),), disallowed=(by("A"), MatchCriteria(keyIDs=("b",))))
    assert disallowed(policy, A)
    assert disallowed(policy, B)
    assert not disallowed(policy, C)
    assert satisfying_set(policy, (A, B)) is None
    assert satisfying_set(policy, (A, B, C)) == (2,)


def test_a_key_registered_already_is_disallowed_by_aaid_and_key_id_together() -> None:
    policy = Policy(accepted=((MatchCriteria(),),), disallowed=(MatchCriteria(aaid=("AAAA#0001",), keyIDs=("a",)),))
    assert disallowed(policy, A)
    assert not disallowed(policy, model("AAAA#0001", "other"))
    assert not disallowed(policy, model("BBBB#0001", "a"))


# Step-up


def test_step_up_names_the_keys_held_per_model() -> None:
    held = (model("AAAA#0001", "a1"), model("AAAA#0001", "a2"), B)
    narrowed = narrow(Policy(accepted=((MatchCriteria(),),)), held)
    assert narrowed == Policy(
        accepted=(
            (MatchCriteria(aaid=("AAAA#0001",), keyIDs=("a1", "a2")),),
            (MatchCriteria(aaid=("BBBB#0001",), keyIDs=("b",)),),
        )
    )


def test_step_up_keeps_the_order_of_preference_and_repeats_nothing() -> None:
    narrowed = narrow(Policy(accepted=((by("B"),), (by("A", "B"),))), (A, B))
    assert narrowed is not None
    assert [alternative[0].aaid for alternative in narrowed.accepted] == [("BBBB#0001",), ("AAAA#0001",)]


def test_step_up_drops_what_the_user_does_not_hold_and_what_is_disallowed() -> None:
    policy = Policy(accepted=((by("A"),), (by("B"),), (by("B"), by("C"))), disallowed=(by("A"),))
    assert narrow(policy, (A, B)) == Policy(accepted=((MatchCriteria(aaid=("BBBB#0001",), keyIDs=("b",)),),))
    assert narrow(policy, (A,)) is None
    assert narrow(policy, ()) is None


def test_step_up_combines_the_keys_of_a_set_needed_together() -> None:
    narrowed = narrow(Policy(accepted=((by("A", "B"), by("C")),)), (A, B, C))
    assert narrowed is not None
    combined = [tuple(criteria.aaid for criteria in alternative) for alternative in narrowed.accepted]
    assert combined == [(("AAAA#0001",), ("CCCC#0001",)), (("BBBB#0001",), ("CCCC#0001",))]


def test_a_narrowed_policy_is_met_by_just_the_registrations_it_names() -> None:
    narrowed = narrow(Policy(accepted=((MatchCriteria(userVerification=4),),)), (A, B))
    assert narrowed is not None
    assert satisfying_set(narrowed, (B,)) == (0,)
    assert satisfying_set(narrowed, (model("AAAA#0001", "somebody else's"),)) is None


def test_step_up_is_bounded() -> None:
    many = [model(f"{number:04X}#0001", str(number)) for number in range(40)]
    narrowed = narrow(Policy(accepted=((MatchCriteria(),) * 3,)), many)
    assert narrowed is not None
    assert len(narrowed.accepted) == MAX_ALTERNATIVES


# Reading


@pytest.mark.parametrize(
    "text",
    [
        '{"accepted":[[{"userVerification":1023}]]}',
        '{"accepted":[[{"vendorID":"1234"}]],"disallowed":[{"aaid":["ABCD#1234"]}]}',
        '{"accepted":[[{"vendorID":["1234"]}]],"disallowed":[]}',
        '{"accepted":[[{"exts":[{"id":"x","data":"","fail_if_unknown":false}]}]],"unknown":1}',
    ],
)
def test_policies_of_all_spellings_are_read(text: str) -> None:
    assert strictjson.decode(text, Policy).accepted


@pytest.mark.parametrize(
    "policy",
    [
        "{}",
        '{"accepted":[]}',
        '{"accepted":[[]]}',
        '{"accepted":[[{}]],"disallowed":null}',
        '{"accepted":[[{"aaid":"ABCD#1234"}]]}',
        '{"accepted":[[{"aaid":[]}]]}',
        '{"accepted":[[{"userVerification":4294967296}]]}',
        '{"accepted":[[{"userVerification":-1}]]}',
        '{"accepted":[[{"keyProtection":65536}]]}',
        '{"accepted":[[{"authenticationAlgorithms":[]}]]}',
        '{"accepted":[[{"authenticationAlgorithms":["1"]}]]}',
        '{"accepted":[[{"attestationTypes":15879}]]}',
        '{"accepted":[[{"authenticatorVersion":null}]]}',
        '{"accepted":[' + ",".join(["[{}]"] * (MAX_ALTERNATIVES + 1)) + "]}",
        '{"accepted":[[' + ",".join(["{}"] * 17) + "]]}",
    ],
)
def test_a_policy_of_wrong_types_or_sizes_is_malformed(policy: str) -> None:
    with pytest.raises(MalformedError):
        strictjson.decode(policy, Policy)
