from datetime import date

import pytest

from fidoloop.protocol.uaf.status_reports import UNACCEPTABLE_STATUSES, StatusReport, unacceptable_status

TODAY = date(2026, 1, 1)
PAST, LATER, FUTURE = date(2024, 5, 1), date(2025, 5, 1), date(2026, 1, 2)
REVOKED, BYPASS, UPDATE = "REVOKED", "USER_VERIFICATION_BYPASS", "UPDATE_AVAILABLE"


def current(*reports: StatusReport, version: int = 1, on: date | None = TODAY) -> str | None:
    return unacceptable_status(reports, version=version, on=on)


@pytest.mark.parametrize(
    "status",
    [
        "REVOKED",
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
    ],
)
def test_a_status_of_a_break_forbids_use(status: str) -> None:
    assert current(StatusReport(status)) == status
    assert status in UNACCEPTABLE_STATUSES


@pytest.mark.parametrize(
    "status",
    [
        "NOT_FIDO_CERTIFIED",
        "FIDO_CERTIFIED",
        "FIDO_CERTIFIED_L1",
        "FIDO_CERTIFIED_L3plus",
        "SELF_ASSERTION_SUBMITTED",
        "UPDATE_AVAILABLE",
        "UNHEARD_OF",
    ],
)
def test_any_other_status_does_not(status: str) -> None:
    assert current(StatusReport(status)) is None


def test_no_report_forbids_nothing() -> None:
    assert current() is None


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ((StatusReport(BYPASS), StatusReport(UPDATE)), None),
        ((StatusReport(UPDATE), StatusReport(BYPASS)), BYPASS),
        ((StatusReport(BYPASS, PAST), StatusReport(UPDATE, LATER)), None),
        ((StatusReport(UPDATE, LATER), StatusReport(BYPASS, PAST)), None),
        ((StatusReport(REVOKED, LATER), StatusReport(UPDATE, PAST)), REVOKED),
        ((StatusReport(UPDATE, LATER), StatusReport(REVOKED, LATER)), REVOKED),
        ((StatusReport(UPDATE, LATER), StatusReport(REVOKED)), REVOKED),
        ((StatusReport(REVOKED), StatusReport(UPDATE, PAST)), None),
    ],
    ids=["later in the list", "earlier", "newer", "newer first", "older last", "same day", "undated", "undated first"],
)
def test_the_latest_report_decides(reports: tuple[StatusReport, ...], expected: str | None) -> None:
    assert current(*reports) == expected


def test_a_report_is_in_force_from_its_day_on() -> None:
    assert current(StatusReport(REVOKED, TODAY)) == REVOKED
    assert current(StatusReport(REVOKED, FUTURE)) is None
    assert current(StatusReport(BYPASS, PAST), StatusReport(UPDATE, FUTURE)) == BYPASS


def test_without_a_day_every_report_is_in_force() -> None:
    assert current(StatusReport(REVOKED, FUTURE), on=None) == REVOKED


@pytest.mark.parametrize(("version", "expected"), [(1, None), (2, BYPASS), (4, BYPASS), (5, None), (6, None)])
def test_a_report_is_about_its_version_and_later_ones_until_the_next(version: int, expected: str | None) -> None:
    reports = (StatusReport(BYPASS, PAST, 2), StatusReport(UPDATE, LATER, 5))
    assert current(*reports, version=version) == expected
