"""Many authenticators held against many criteria: each member of a criteria is looked up, not compared one by one.

What `match_criteria.matches` says of one authenticator stands here for all of them at once: a mask, a bit for each.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TypeVar

from msgspec import UNSET

from fidoloop.protocol.uaf.match_criteria import AuthenticatorFacts, MatchCriteria, vendors
from fidoloop.protocol.uaf.registry import UserVerification

K = TypeVar("K")
_ALL = int(UserVerification.ALL)


class Candidates:
    """Authenticators by what criteria ask for; bit `i` of a mask is `facts[i]`."""

    def __init__(self, facts: Sequence[AuthenticatorFacts]) -> None:
        """Take the authenticators; each index is made when a criteria first asks for it."""
        self._facts = facts
        self.everyone = (1 << len(facts)) - 1

    def matching(self, criteria: MatchCriteria) -> int:
        """Return the mask of the authenticators that meet every member of `criteria` that is present."""
        c = criteria
        mask = self.everyone
        if c.aaid is not UNSET:
            mask &= _any_of(self._aaids, [aaid.upper() for aaid in c.aaid])
        if mask and c.keyIDs is not UNSET:
            mask &= _any_of(self._key_ids, c.keyIDs)
        if mask and c.vendorID is not UNSET:
            mask &= _any_of(self._vendors, vendors(c.vendorID))
        if mask and c.userVerification is not UNSET:
            mask &= self._user_verification(c.userVerification)
        if mask and c.authenticationAlgorithms is not UNSET:
            mask &= _any_of(self._algorithms, c.authenticationAlgorithms)
        if mask and c.assertionSchemes is not UNSET:
            mask &= _any_of(self._assertion_schemes, c.assertionSchemes)
        if mask and c.attestationTypes is not UNSET:
            mask &= _any_of(self._attestation_types, c.attestationTypes)
        if mask and c.keyProtection is not UNSET:
            mask &= _any_bit(self._key_protection, c.keyProtection)
        if mask and c.matcherProtection is not UNSET:
            mask &= _any_bit(self._matcher_protection, c.matcherProtection)
        if mask and c.tcDisplay is not UNSET:
            mask &= _any_bit(self._tc_display, c.tcDisplay)
        if mask and c.attachmentHint is not UNSET:
            mask &= _any_bit(self._attachment_hint, c.attachmentHint) | self._no_attachment_hint
        if mask and c.authenticatorVersion is not UNSET:
            mask &= self._version_from(c.authenticatorVersion)
        return mask

    def _index(self, values_of: Callable[[AuthenticatorFacts], Iterable[K]]) -> dict[K, int]:
        index: dict[K, int] = {}
        bit = 1
        for facts in self._facts:
            for value in values_of(facts):
                index[value] = index.get(value, 0) | bit
            bit <<= 1
        return index

    @cached_property
    def _aaids(self) -> dict[str, int]:
        return self._index(lambda facts: (facts.aaid.upper(),))

    @cached_property
    def _vendors(self) -> dict[str, int]:
        return self._index(lambda facts: (facts.aaid[:4].upper(),))

    @cached_property
    def _key_ids(self) -> dict[str, int]:
        return self._index(lambda facts: facts.key_ids)

    @cached_property
    def _algorithms(self) -> dict[int, int]:
        return self._index(lambda facts: facts.algorithms)

    @cached_property
    def _assertion_schemes(self) -> dict[str, int]:
        return self._index(lambda facts: facts.assertion_schemes)

    @cached_property
    def _attestation_types(self) -> dict[int, int]:
        return self._index(lambda facts: facts.attestation_types)

    @cached_property
    def _key_protection(self) -> dict[int, int]:
        return self._index(lambda facts: _bits(facts.key_protection))

    @cached_property
    def _matcher_protection(self) -> dict[int, int]:
        return self._index(lambda facts: _bits(facts.matcher_protection))

    @cached_property
    def _tc_display(self) -> dict[int, int]:
        return self._index(lambda facts: _bits(facts.tc_display))

    @cached_property
    def _attachment_hint(self) -> dict[int, int]:
        return self._index(lambda facts: _bits(facts.attachment_hint or 0))

    @cached_property
    def _no_attachment_hint(self) -> int:
        return self._index(lambda facts: (facts.attachment_hint is None,)).get(True, 0)

    @cached_property
    def _exact_user_verification(self) -> dict[int, int]:
        return self._index(lambda facts: (facts.user_verification,))

    @cached_property
    def _any_user_verification(self) -> dict[int, int]:
        return self._index(lambda facts: () if facts.user_verification & _ALL else _bits(facts.user_verification))

    def _user_verification(self, wanted: int) -> int:
        exact = self._exact_user_verification.get(wanted, 0)
        return exact if wanted & _ALL else exact | _any_bit(self._any_user_verification, wanted)

    @cached_property
    def _versions(self) -> tuple[list[int], list[int]]:
        """The versions there are, ascending, and beside each the mask of those that have it or a later one."""
        index = self._index(lambda facts: (facts.version,))
        versions = sorted(index)
        masks, mask = [], 0
        for version in reversed(versions):
            mask |= index[version]
            masks.append(mask)
        return versions, masks[::-1]

    def _version_from(self, lowest: int) -> int:
        versions, masks = self._versions
        at = bisect_left(versions, lowest)
        return masks[at] if at < len(masks) else 0


def _any_of(index: dict[K, int], wanted: Iterable[K]) -> int:
    mask = 0
    for value in wanted:
        mask |= index.get(value, 0)
    return mask


def _any_bit(index: dict[int, int], wanted: int) -> int:
    mask = 0
    for bit, having in index.items():
        if bit & wanted:
            mask |= having
    return mask


def _bits(value: int) -> list[int]:
    return [1 << at for at in range(value.bit_length()) if value >> at & 1]
