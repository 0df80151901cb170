from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from fidoloop.protocol.uaf.candidates import Candidates
from fidoloop.protocol.uaf.policy import AuthenticatorFacts, MatchCriteria, Policy, choose, matches

AAIDS = ("F10B#0111", "f10b#0112", "F10B#0113", "ABCD#0001")
KEY_IDS = ("a", "b", "c")
BITS = st.integers(0, 0x1F)
USER_VERIFICATION = st.sampled_from([0, 1, 2, 4, 6, 0x200, 0x400, 0x402, 0x406, 0x1FFF])
FACTS = st.builds(
    AuthenticatorFacts,
    st.sampled_from(AAIDS),
    st.frozensets(st.sampled_from(KEY_IDS)),
    USER_VERIFICATION,
    BITS,
    BITS,
    st.none() | BITS,
    BITS,
    st.frozensets(st.sampled_from([1, 2, 3])),
    st.frozensets(st.sampled_from(["UAFV1TLV", "X"])),
    st.frozensets(st.sampled_from([0x3E07, 0x3E08])),
    st.integers(0, 4),
)


def perhaps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(UNSET) | values


def some(*values: object) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3).map(tuple)


CRITERIA = st.builds(
    MatchCriteria,
    aaid=perhaps(some("F10B#0111", "F10B#0112", "f10b#0113", "0000#0000")),
    vendorID=perhaps(some("f10b", "ABCD") | st.sampled_from(["F10B", "F10"])),
    keyIDs=perhaps(some("a", "B", "c")),
    userVerification=perhaps(USER_VERIFICATION),
    keyProtection=perhaps(BITS),
    matcherProtection=perhaps(BITS),
    attachmentHint=perhaps(BITS),
    tcDisplay=perhaps(BITS),
    authenticationAlgorithms=perhaps(some(1, 2, 9)),
    assertionSchemes=perhaps(some("UAFV1TLV", "Y")),
    attestationTypes=perhaps(some(0x3E07, 0x3E09)),
    authenticatorVersion=perhaps(st.integers(0, 5)),
)


@given(st.lists(FACTS, max_size=6), st.lists(CRITERIA, max_size=4))
def test_an_index_of_many_says_of_each_what_is_said_of_one(
    facts: list[AuthenticatorFacts], wanted: list[MatchCriteria]
) -> None:
    index = Candidates(facts)
    for criteria in wanted:
        expected = sum(1 << at for at, each in enumerate(facts) if matches(criteria, each))
        assert index.matching(criteria) == expected


@given(FACTS, st.lists(CRITERIA, min_size=1, max_size=3), st.lists(CRITERIA, max_size=2))
def test_one_candidate_is_chosen_as_one_among_others_is(
    facts: AuthenticatorFacts, accepted: list[MatchCriteria], disallowed: list[MatchCriteria]
) -> None:
    policy = Policy(accepted=tuple((criteria,) for criteria in accepted), disallowed=tuple(disallowed))
    nobody = AuthenticatorFacts("0000#FFFF", frozenset(), 0, 0, 0, 0, 0, frozenset(), frozenset(), frozenset(), 0)
    alone, beside = choose(policy, [facts]), choose(policy, [facts, nobody])
    if alone is not None:
        assert beside == alone
    elif beside is not None:
        assert beside.candidates == (1,)


def test_nobody_meets_nothing() -> None:
    assert Candidates([]).matching(MatchCriteria()) == 0
    assert choose(Policy(accepted=((MatchCriteria(),),)), []) is None


@pytest.mark.parametrize("size", [16, 12])
def test_a_set_that_cannot_be_met_is_refused_without_trying_every_order(size: int) -> None:
    """Sixteen criteria of which only fifteen authenticators are for: 15! orders, were they tried one by one."""
    facts = [
        AuthenticatorFacts(f"F10B#{n:04X}", frozenset(), 4, 1, 1, 1, 1, frozenset({1}), frozenset(), frozenset(), 1)
        for n in range(size - 1)
    ]
    policy = Policy(accepted=(tuple(MatchCriteria(userVerification=4) for _ in range(size)),))
    assert choose(policy, facts) is None
    more = [
        *facts,
        AuthenticatorFacts("0000#0001", frozenset(), 4, 1, 1, 1, 1, frozenset(), frozenset(), frozenset(), 1),
    ]
    found = choose(policy, more)
    assert found is not None
    assert sorted(found.candidates) == list(range(size))
