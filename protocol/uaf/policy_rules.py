"""What a policy must keep to when it is written, though readers put up with more (UAF protocol 1.1, 3.1.12)."""

import re
from collections.abc import Iterator

from msgspec import UNSET

from fidoloop.protocol import base64url
from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.assertions import MAX_KEY_ID_BYTES, MIN_KEY_ID_BYTES
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy

BESIDE_AAID = frozenset({"aaid", "keyIDs", "attachmentHint", "authenticatorVersion", "exts"})
REQUIRED_WITHOUT_AAID = ("authenticationAlgorithms", "assertionSchemes")
_AAID = re.compile(r"[0-9A-Fa-f]{4}#[0-9A-Fa-f]{4}")
_VENDOR = re.compile(r"[0-9A-Fa-f]{4}")


def check_policy(policy: Policy, where: str = "$") -> None:
    """Hold a policy that is about to be sent against the rules of UAF 1.1.

    Raises:
        MalformedError: a criteria joins what may not stand together, lacks what it must have, or has a value of
            another form; `where` is its path.
    """
    for path, criteria in _every_criteria(policy, where):
        _check_members(criteria, path)
        _check_values(criteria, path)


def _every_criteria(policy: Policy, where: str) -> Iterator[tuple[str, MatchCriteria]]:
    for at, alternative in enumerate(policy.accepted):
        for index, criteria in enumerate(alternative):
            yield f"{where}.accepted[{at}][{index}]", criteria
    for index, criteria in enumerate(policy.disallowed or ()):
        yield f"{where}.disallowed[{index}]", criteria


def _check_members(criteria: MatchCriteria, where: str) -> None:
    """With aaid stand only what an AAID does not say; without it, algorithms and schemes must be named."""
    there = [name for name in criteria.__struct_fields__ if getattr(criteria, name) is not UNSET]
    if criteria.aaid is not UNSET:
        stranger = next((name for name in there if name not in BESIDE_AAID), None)
        if stranger is not None:
            raise MalformedError(f"{where}.{stranger}", "may not stand beside aaid")
        return
    for name in REQUIRED_WITHOUT_AAID:
        if name not in there:
            raise MalformedError(f"{where}.{name}", "is required where there is no aaid")


def _check_values(criteria: MatchCriteria, where: str) -> None:
    for index, aaid in enumerate(criteria.aaid or ()):
        if _AAID.fullmatch(aaid) is None:
            raise MalformedError(f"{where}.aaid[{index}]", "not of the form HHHH#HHHH")
    if isinstance(criteria.vendorID, str):
        raise MalformedError(f"{where}.vendorID", "not a list")
    for index, vendor in enumerate(criteria.vendorID or ()):
        if _VENDOR.fullmatch(vendor) is None:
            raise MalformedError(f"{where}.vendorID[{index}]", "not four hexadecimal digits")
    for index, key_id in enumerate(criteria.keyIDs or ()):
        path = f"{where}.keyIDs[{index}]"
        size = len(base64url.decode(key_id, path))
        if not MIN_KEY_ID_BYTES <= size <= MAX_KEY_ID_BYTES:
            raise MalformedError(path, f"{size} bytes, {MIN_KEY_ID_BYTES} to {MAX_KEY_ID_BYTES} allowed")
