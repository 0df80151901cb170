"""Policy and MatchCriteria, and which authenticators meet them (UAF protocol 3.1.11, 3.1.12; digest section 2)."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol.uaf.extensions import Extension
from fidoloop.protocol.uaf.registry import UserVerification

UInt16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
UInt32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
NonEmptyInts = Annotated[tuple[UInt16, ...], Meta(min_length=1)]
NonEmptyTexts = Annotated[tuple[str, ...], Meta(min_length=1)]
MAX_ALTERNATIVES = 256
_ALL = int(UserVerification.ALL)


class MatchCriteria(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an authenticator must be; every member present must match."""

    aaid: NonEmptyTexts | UnsetType = UNSET
    vendorID: NonEmptyTexts | str | UnsetType = UNSET
    keyIDs: NonEmptyTexts | UnsetType = UNSET
    userVerification: UInt32 | UnsetType = UNSET
    keyProtection: UInt16 | UnsetType = UNSET
    matcherProtection: UInt16 | UnsetType = UNSET
    attachmentHint: UInt32 | UnsetType = UNSET
    tcDisplay: UInt16 | UnsetType = UNSET
    authenticationAlgorithms: NonEmptyInts | UnsetType = UNSET
    assertionSchemes: NonEmptyTexts | UnsetType = UNSET
    attestationTypes: NonEmptyInts | UnsetType = UNSET
    authenticatorVersion: UInt16 | UnsetType = UNSET
    exts: tuple[Extension, ...] | UnsetType = UNSET


Alternative = Annotated[tuple[MatchCriteria, ...], Meta(min_length=1, max_length=16)]


class Policy(msgspec.Struct, frozen=True, omit_defaults=True):
    """accepted: alternatives (OR) of sets needed together (AND); disallowed: a match with any removes."""

    accepted: Annotated[tuple[Alternative, ...], Meta(min_length=1, max_length=MAX_ALTERNATIVES)]
    disallowed: tuple[MatchCriteria, ...] | UnsetType = UNSET


class AuthenticatorFacts(msgspec.Struct, frozen=True):
    """What is known of an authenticator: from its metadata (server) or its ASM (client).

    `key_ids` are the base64url KeyIDs it holds (client) or asserted (server). `attachment_hint` is None on the
    server: it is only a hint there and never decides (digest section 2).
    """

    aaid: str
    key_ids: frozenset[str]
    user_verification: int
    key_protection: int
    matcher_protection: int
    attachment_hint: int | None
    tc_display: int
    algorithms: frozenset[int]
    assertion_schemes: frozenset[str]
    attestation_types: frozenset[int]
    version: int


def user_verification_matches(wanted: int, offered: int) -> bool:
    """Equal, or neither has ALL and a bit is common (UAF protocol 3.1.12)."""
    return wanted == offered or ((wanted | offered) & _ALL == 0 and wanted & offered != 0)


def matches(criteria: MatchCriteria, facts: AuthenticatorFacts) -> bool:
    """Tell whether an authenticator meets every member of `criteria` that is present (UAF protocol 3.1.12)."""
    c = criteria
    return (
        (c.aaid is UNSET or facts.aaid.upper() in {aaid.upper() for aaid in c.aaid})
        and (c.vendorID is UNSET or _vendor_matches(c.vendorID, facts.aaid[:4]))
        and (c.keyIDs is UNSET or not facts.key_ids.isdisjoint(c.keyIDs))
        and (c.userVerification is UNSET or user_verification_matches(c.userVerification, facts.user_verification))
        and (c.keyProtection is UNSET or c.keyProtection & facts.key_protection != 0)
        and (c.matcherProtection is UNSET or c.matcherProtection & facts.matcher_protection != 0)
        and (
            c.attachmentHint is UNSET or facts.attachment_hint is None or c.attachmentHint & facts.attachment_hint != 0
        )
        and (c.tcDisplay is UNSET or c.tcDisplay & facts.tc_display != 0)
        and (c.authenticationAlgorithms is UNSET or not facts.algorithms.isdisjoint(c.authenticationAlgorithms))
        and (c.assertionSchemes is UNSET or not facts.assertion_schemes.isdisjoint(c.assertionSchemes))
        and (c.attestationTypes is UNSET or not facts.attestation_types.isdisjoint(c.attestationTypes))
        and (c.authenticatorVersion is UNSET or facts.version >= c.authenticatorVersion)
    )


def _vendor_matches(wanted: tuple[str, ...] | str, vendor: str) -> bool:
    """Compare vendors; the specification's own example writes one as a bare string."""
    vendors = (wanted,) if isinstance(wanted, str) else wanted
    return vendor.upper() in {name.upper() for name in vendors}


def disallowed(policy: Policy, facts: AuthenticatorFacts) -> bool:
    """Tell whether any entry of policy.disallowed matches."""
    if not policy.disallowed:
        return False
    return any(matches(criteria, facts) for criteria in policy.disallowed)


def satisfying_set(policy: Policy, candidates: Sequence[AuthenticatorFacts]) -> tuple[int, ...] | None:
    """Return the candidates' indices that meet the first alternative that can be met, or None.

    Each criteria of an alternative is met by a candidate of its own; disallowed candidates do not count.
    """
    usable = [index for index, facts in enumerate(candidates) if not disallowed(policy, facts)]
    for alternative in policy.accepted:
        chosen = _assign(alternative, candidates, usable)
        if chosen is not None:
            return chosen
    return None


def _assign(
    alternative: Sequence[MatchCriteria], candidates: Sequence[AuthenticatorFacts], usable: list[int]
) -> tuple[int, ...] | None:
    for index in usable:
        if matches(alternative[0], candidates[index]):
            if len(alternative) == 1:
                return (index,)
            rest = _assign(alternative[1:], candidates, [other for other in usable if other != index])
            if rest is not None:
                return (index, *rest)
    return None


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
