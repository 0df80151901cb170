import pytest

from fidoloop.protocol.uaf.status import CLIENT_ERROR_OF_ASM_STATUS, AsmStatus, ClientError, StatusCode, UafRefusal


@pytest.mark.parametrize("status", AsmStatus)
def test_every_asm_status_has_its_client_error(status: AsmStatus) -> None:
    assert isinstance(CLIENT_ERROR_OF_ASM_STATUS[status], ClientError)


@pytest.mark.parametrize(
    ("status", "error"),
    [(0, 0), (1, 0xFF), (2, 12), (3, 3), (4, 13), (9, 9), (11, 5), (14, 14), (15, 15), (16, 16), (17, 17)],
)
def test_the_table_of_the_client_api(status: int, error: int) -> None:
    assert CLIENT_ERROR_OF_ASM_STATUS[AsmStatus(status)] == error


def test_the_codes_are_those_of_the_contract() -> None:
    codes = {1200, 1202, 1400, 1401, 1403, 1404, 1408, 1480, 1481, *range(1490, 1499), 1500}
    assert {int(code) for code in StatusCode} == codes


def test_a_refusal_says_code_and_rule() -> None:
    refusal = UafRefusal(StatusCode.UNKNOWN_AAID, "no metadata")
    assert (refusal.status, refusal.detail, str(refusal)) == (1480, "no metadata", "1480: no metadata")
