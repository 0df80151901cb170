"""MatchCriteria, and whether an authenticator meets one (UAF protocol 3.1.12; digest section 2)."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol.uaf.extensions import Extensions
from fidoloop.protocol.uaf.registry import UserVerification

UInt16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
UInt32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
MAX_VALUES = 1024
NonEmptyInts = Annotated[tuple[UInt16, ...], Meta(min_length=1, max_length=MAX_VALUES)]
NonEmptyTexts = Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_VALUES)]
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
    exts: Extensions | UnsetType = UNSET


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
    """Tell whether an authenticator meets every member of `criteria` that is present (UAF protocol 3.1.12).

    Extensions are no part of it: one that must be understood and is not fails the whole message, and whoever reads
    the message sees to that; any other leaves the criteria as it is.
    """
    c = criteria
    return (
        (c.aaid is UNSET or facts.aaid.upper() in {aaid.upper() for aaid in c.aaid})
        and (c.vendorID is UNSET or facts.aaid[:4].upper() in vendors(c.vendorID))
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


def vendors(wanted: tuple[str, ...] | str) -> list[str]:
    """Return vendorID as a list in upper case; the specification's own example writes one as a bare string."""
    return [name.upper() for name in ((wanted,) if isinstance(wanted, str) else wanted)]
