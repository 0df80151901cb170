"""Status reports of the metadata service, and whether they forbid the use of a model (digest 9.1, 9.2)."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

UNACCEPTABLE_STATUSES = frozenset(
    {
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
        "REVOKED",
    }
)


class StatusReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A status report: from `effectiveDate` on, about `authenticatorVersion` and later ones, where these are given."""

    status: str
    effectiveDate: date | UnsetType = UNSET
    authenticatorVersion: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | UnsetType = UNSET


def unacceptable_status(reports: Sequence[StatusReport], *, version: int, on: date | None) -> str | None:
    """Return the status that forbids an authenticator of `version`, None where the one in force forbids nothing.

    In force is the latest report that is effective on the day `on` (None: all are) and about such a version. One
    without a date counts as made right after the one before it.
    """
    latest: tuple[date, str] | None = None
    for effective, report in _dated(reports):
        if on is not None and effective > on:
            continue
        if report.authenticatorVersion is not UNSET and report.authenticatorVersion > version:
            continue
        if latest is None or effective >= latest[0]:
            latest = (effective, report.status)
    return latest[1] if latest is not None and latest[1] in UNACCEPTABLE_STATUSES else None


def _dated(reports: Sequence[StatusReport]) -> Iterator[tuple[date, StatusReport]]:
    newest = date.min
    for report in reports:
        effective = newest if report.effectiveDate is UNSET else report.effectiveDate
        newest = max(newest, effective)
        yield effective, report
