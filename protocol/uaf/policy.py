"""Policy, and which authenticators meet it (UAF protocol 3.1.11, 3.1.12; digest section 2)."""

from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol.uaf.candidates import Candidates
from fidoloop.protocol.uaf.extensions import Extension
from fidoloop.protocol.uaf.match_criteria import (
    AuthenticatorFacts,
    MatchCriteria,
    matches,
    user_verification_matches,
)

__all__ = [
    "AuthenticatorFacts",
    "Choice",
    "MatchCriteria",
    "Policy",
    "choose",
    "disallowed",
    "matches",
    "narrow",
    "policy_extensions",
    "preferred_attestation_types",
    "satisfying_set",
    "user_verification_matches",
]

MAX_ALTERNATIVES = 256
MAX_DISALLOWED = 1024

Alternative = Annotated[tuple[MatchCriteria, ...], Meta(min_length=1, max_length=16)]


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """accepted: alternatives (OR) of sets needed together (AND); disallowed: a match with any removes."""

    accepted: Annotated[tuple[Alternative, ...], Meta(min_length=1, max_length=MAX_ALTERNATIVES)]
    disallowed: Annotated[tuple[MatchCriteria, ...], Meta(max_length=MAX_DISALLOWED)] | UnsetType = UNSET


def disallowed(policy: Policy, facts: AuthenticatorFacts) -> bool:
    """Tell whether any entry of policy.disallowed matches."""
    if not policy.disallowed:
        return False
    return any(matches(criteria, facts) for criteria in policy.disallowed)


class Choice(NamedTuple):
    """The alternative of policy.accepted that was met, and the candidate for each of its criteria."""

    alternative: int
    candidates: tuple[int, ...]


def choose(policy: Policy, candidates: Sequence[AuthenticatorFacts]) -> Choice | None:
    """Return the first alternative that can be met, alternatives standing in order of preference; None if none can.

    Each criteria of an alternative is met by a candidate of its own; disallowed candidates do not count.
    """
    if len(candidates) == 1:
        return _choose_single(policy, candidates[0])
    index = Candidates(candidates)
    usable = index.everyone
    for criteria in policy.disallowed or ():
        usable &= ~index.matching(criteria)
    if usable:
        for at, alternative in enumerate(policy.accepted):
            chosen = _distinct([index.matching(criteria) & usable for criteria in alternative])
            if chosen is not None:
                return Choice(at, chosen)
    return None


def _choose_single(policy: Policy, facts: AuthenticatorFacts) -> Choice | None:
    """As `choose` for one candidate: most responses hold one assertion, for which no index need be made."""
    if disallowed(policy, facts):
        return None
    for at, alternative in enumerate(policy.accepted):
        if len(alternative) == 1 and matches(alternative[0], facts):
            return Choice(at, (0,))
    return None


def satisfying_set(policy: Policy, candidates: Sequence[AuthenticatorFacts]) -> tuple[int, ...] | None:
    """Return the candidates' indices that meet the first alternative that can be met, or None."""
    choice = choose(policy, candidates)
    return None if choice is None else choice.candidates


def _distinct(masks: list[int]) -> tuple[int, ...] | None:
    """Return one bit of each mask, no two the same; None where that cannot be (a bipartite matching).

    The lowest bit that is free is taken; where none is, an earlier choice gives way if it can.
    """
    if not all(masks):
        return None
    holders: dict[int, int] = {}
    for at in range(len(masks)):
        if not _place(at, masks, holders, set()):
            return None
    by_criteria = {holder: candidate for candidate, holder in holders.items()}
    return tuple(by_criteria[at] for at in range(len(masks)))


def _place(at: int, masks: list[int], holders: dict[int, int], tried: set[int]) -> bool:
    options = [candidate for candidate in range(masks[at].bit_length()) if masks[at] >> candidate & 1]
    for candidate in options:
        if candidate not in holders:
            holders[candidate] = at
            return True
    for candidate in options:
        if candidate not in tried:
            tried.add(candidate)
            if _place(holders[candidate], masks, holders, tried):
                holders[candidate] = at
                return True
    return False


def preferred_attestation_types(policy: Policy, model: AuthenticatorFacts) -> frozenset[int] | None:
    """Return the types by which a client attests a registration of `model`: of each criteria the first it can.

    `model` has all attestation types of its metadata. None where the policy leaves the type open, or does not
    accept the model at all.
    """
    preferred = set()
    for alternative in policy.accepted:
        for criteria in alternative:
            if matches(criteria, model):
                if criteria.attestationTypes is UNSET:
                    return None
                preferred.add(next(kind for kind in criteria.attestationTypes if kind in model.attestation_types))
    return frozenset(preferred) or None


def policy_extensions(policy: Policy) -> Iterable[Extension]:
    """Return the extensions of every criteria, accepted and disallowed (digest 1.3)."""
    every = [criteria for alternative in policy.accepted for criteria in alternative]
    every.extend(policy.disallowed or ())
    return [extension for criteria in every for extension in criteria.exts or ()]


def narrow(policy: Policy, registered: Sequence[AuthenticatorFacts]) -> Policy | None:
    """Return the step-up form of `policy` for a user with these registrations, or None when none fits.

    Each criteria becomes one with aaid and keyIDs of the registrations that meet it (UAF protocol 3.4.1, step-up);
    an alternative with a criteria nobody meets is dropped.
    """
    alternatives: list[tuple[MatchCriteria, ...]] = []
    allowed = [facts for facts in registered if not disallowed(policy, facts)]
    for alternative in policy.accepted:
        combined = _combinations([_held(criteria, allowed) for criteria in alternative])
        alternatives.extend(entry for entry in combined if entry not in alternatives)
    return Policy(accepted=tuple(alternatives[:MAX_ALTERNATIVES])) if alternatives else None


def _held(criteria: MatchCriteria, registered: Sequence[AuthenticatorFacts]) -> list[MatchCriteria]:
    """Return one criteria per AAID among `registered` that meets `criteria`, with the KeyIDs held there."""
    by_aaid: dict[str, list[str]] = {}
    for facts in registered:
        if matches(criteria, facts):
            by_aaid.setdefault(facts.aaid, []).extend(sorted(facts.key_ids))
    return [MatchCriteria(aaid=(aaid,), keyIDs=tuple(key_ids)) for aaid, key_ids in by_aaid.items()]


def _combinations(per_criteria: list[list[MatchCriteria]]) -> list[tuple[MatchCriteria, ...]]:
    combined: list[tuple[MatchCriteria, ...]] = [()]
    for options in per_criteria:
        combined = [(*entry, option) for entry in combined for option in options][:MAX_ALTERNATIVES]
    return combined
