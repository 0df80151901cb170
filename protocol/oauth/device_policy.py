"""What a device must be for what it asks: rules of which the first that matches wins, and none means no.

OAuth contract 2.5; the fifth step of the seed on attested clients.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.oauth.device_facts import DeviceFacts, KeyFacts

MAX_RULES: Final = 200
DEBUG_STATES: Final = (
    "enabled",
    "disabled",
    "disabled-since-boot",
    "disabled-permanently",
    "disabled-fully-and-permanently",
)
"""In rising order (RFC 9711 section 4.2.9)."""
_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}")

_ANY_KEY: Final = KeyFacts()

Names = Annotated[list[str], Meta(min_length=1)]


class Versions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A range of versions, ends included, and single ones that are denied; compared number by number."""

    min: str | UnsetType = UNSET
    max: str | UnsetType = UNSET
    deny: list[str] = []


class Grants(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device under a rule may have: acr values and scopes."""

    acr: list[str]
    scopes: list[str]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule: every member that is there must hold; without `grants` it denies."""

    name: str
    grants: Grants | UnsetType = UNSET
    evidence_types: Names | UnsetType = UNSET
    tiers: tuple[str, ...] = ("attested",)
    oemid: list[int | str] | UnsetType = UNSET
    hwmodel: Names | UnsetType = UNSET
    swname: Names | UnsetType = UNSET
    swversion: Versions | UnsetType = UNSET
    dbgstat: str | UnsetType = UNSET
    fips: bool | UnsetType = UNSET
    key: KeyFacts = KeyFacts()
    pin_policy: Names | UnsetType = UNSET
    touch_policy: Names | UnsetType = UNSET
    attester: Names | UnsetType = UNSET
    max_attestation_age: int | UnsetType = UNSET


class DevicePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy file."""

    rules: Annotated[list[Rule], Meta(max_length=MAX_RULES)]


class Attested(NamedTuple):
    """What is matched: the device, by which attester (`kid`), how long ago (seconds; None if it does not say)."""

    facts: DeviceFacts
    attester: str
    age: int | None


def parse_device_policy(data: bytes) -> DevicePolicy:
    """Return the policy in a JSON text.

    Raises:
        MalformedError: a member that is unknown or of another type, a version or state that is none, or two rules of
            one name; `where` is its path.
    """
    policy = strictjson.decode(data, DevicePolicy)
    names: set[str] = set()
    for index, rule in enumerate(policy.rules):
        where = f"$.rules[{index}]"
        if rule.name in names:
            raise MalformedError(f"{where}.name", "a second rule of this name")
        names.add(rule.name)
        if rule.dbgstat is not UNSET and rule.dbgstat not in DEBUG_STATES:
            raise MalformedError(f"{where}.dbgstat", f"none of {', '.join(DEBUG_STATES)}")
        if rule.swversion is not UNSET:
            for version in (rule.swversion.min, rule.swversion.max, *rule.swversion.deny):
                if version is not UNSET and _VERSION.fullmatch(version) is None:
                    raise MalformedError(f"{where}.swversion", "not numbers with dots between")
    return policy


def decide(policy: DevicePolicy, attested: Attested) -> tuple[Rule | None, Grants]:
    """Return the first rule that matches, and what it grants: nothing where it denies or none matches."""
    for rule in policy.rules:
        if matches(rule, attested):
            return rule, NOTHING if rule.grants is UNSET else rule.grants
    return None, NOTHING


def matches(rule: Rule, attested: Attested) -> bool:
    """Tell whether every member of a rule holds; a fact that the device does not state meets none."""
    facts = attested.facts
    return (
        _among(facts.evidence_type, rule.evidence_types)
        and facts.tier in rule.tiers
        and _among(facts.oemid, rule.oemid)
        and _among(facts.hwmodel, rule.hwmodel)
        and _among(facts.swname, rule.swname)
        and _among(facts.pin_policy, rule.pin_policy)
        and _among(facts.touch_policy, rule.touch_policy)
        and _among(attested.attester, rule.attester)
        and (rule.fips is UNSET or facts.fips is rule.fips)
        and _debugging_is_off(facts, rule)
        and _key_is(facts.key, rule.key)
        and _version_is(facts, rule)
        and (rule.max_attestation_age is UNSET or _is_young(attested.age, rule.max_attestation_age))
    )


def version_number(text: str) -> tuple[int, ...] | None:
    """Return a multipartnumeric version as numbers, trailing zeros left out; None where it is none."""
    if _VERSION.fullmatch(text) is None:
        return None
    numbers = [int(part) for part in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _among(value: object, allowed: Sequence[object] | UnsetType) -> bool:
    return allowed is UNSET or value in allowed


def _debugging_is_off(facts: DeviceFacts, rule: Rule) -> bool:
    if rule.dbgstat is UNSET:
        return True
    return facts.dbgstat in DEBUG_STATES and DEBUG_STATES.index(facts.dbgstat) >= DEBUG_STATES.index(rule.dbgstat)


def _key_is(key: KeyFacts, wanted: KeyFacts) -> bool:
    return wanted == _ANY_KEY or all(
        getattr(wanted, name) is UNSET or getattr(key, name) is getattr(wanted, name)
        for name in KeyFacts.__struct_fields__
    )


def _version_is(facts: DeviceFacts, rule: Rule) -> bool:
    if rule.swversion is UNSET:
        return True
    found = None if facts.swversion is UNSET else version_number(facts.swversion[0])
    if found is None or found in [version_number(denied) for denied in rule.swversion.deny]:
        return False
    low, high = rule.swversion.min, rule.swversion.max
    return (low is UNSET or found >= (version_number(low) or ())) and (
        high is UNSET or found <= (version_number(high) or ())
    )


def _is_young(age: int | None, limit: int) -> bool:
    return age is not None and age <= limit


NOTHING: Final = Grants(acr=[], scopes=[])
