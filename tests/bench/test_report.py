"""What a measurement is told as: reached or missed, in tables, and in docs/performance.md."""

import json
import pstats
from cProfile import Profile
from functools import partial
from hashlib import scrypt
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import GROUPS, main
from bench.measure import Row
from bench.profiles import shares
from bench.report import MEASURED, PAGE, cells, filled, table


@pytest.mark.parametrize(
    ("row", "result"),
    [
        (Row("a", 1.0, "1/s", 2.0, 0.5, wanted=0.5), "reached"),
        (Row("a", 1.0, "1/s", 2.0, 0.49, wanted=0.5), "missed"),
        (Row("a", 1.0, "s", limit=1.0), "reached"),
        (Row("a", 1.1, "s", limit=1.0), "missed"),
        (Row("a", 1.0, "s", 2.0, 0.6, wanted=0.5, limit=0.5), "missed"),
        (Row("a", 1.0, "s"), ""),
        (Row("a", None, "not installed: node", wanted=0.5), ""),
    ],
)
def test_a_row_says_whether_what_is_wanted_was_reached(row: Row, result: str) -> None:
    assert row.result == row.as_json()["result"] == cells(row)[-1] == result
    assert row.met == (result != "missed")


def test_figures_are_written_for_people() -> None:
    assert cells(Row("a", 12345.6, "1/s", 0.12345, 0.5, wanted=0.6))[1:-1] == (
        "12,346",
        "1/s",
        "0.123",
        "0.500",
        "ratio ≥ 0.6",
    )
    assert cells(Row("a", 0.9, "s, median", limit=1.0))[5] == "≤ 1 s"
    assert table(("x", "y"), [("1", "2")]) == "| x | y |\n| --- | --- |\n| 1 | 2 |\n"


@pytest.mark.parametrize("name", ["figures", "machine", "profiles"])
def test_the_page_has_a_place_for_each_table_and_keeps_the_rest(name: str) -> None:
    page = PAGE.read_text("utf-8")
    once = filled(page, name, "| new |\n")
    assert "| new |\n" in once
    assert filled(once, name, "") == filled(page, name, "")
    assert [line for line in once.splitlines() if line.startswith("#")] == [
        line for line in page.splitlines() if line.startswith("#")
    ]


def test_a_page_without_the_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for elsewhere"):
        filled(PAGE.read_text("utf-8"), "elsewhere", "")


def test_a_profile_is_told_by_what_the_time_went_for() -> None:
    from fidoloop.protocol import base64url

    with Profile() as profile:
        for _ in range(2000):
            base64url.encode(bytes(64))
        scrypt(b"", salt=b"", n=2, r=1, p=1)
    found = shares(pstats.Stats(profile))
    assert sum(found.values()) == pytest.approx(100, abs=2)
    assert found["UAF: TLV, challenge, policy, rules"] > 10


def test_a_run_of_some_leaves_the_others_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"a": 1.0, "b": 2.0}

    def measured(name: str) -> list[Row]:
        return [Row(name, values[name], "s", limit=2.0)]

    for name in ("a", "b"):
        monkeypatch.setitem(GROUPS, name, partial(measured, name))
    assert main(["a", "b"]) == 0
    values["a"] = 3.0
    assert main(["a", "--json"]) == 1
    written = json.loads((tmp_path / MEASURED).read_text())
    assert [(row["name"], row["value"], row["result"]) for row in written] == [
        ("a", 3.0, "missed"),
        ("b", 2.0, "reached"),
    ]


def test_a_measurement_that_is_none_is_refused(capsys: Any) -> None:  # noqa: ANN401 - pytest's
    assert main(["--json", "no-such-thing"]) == 2
    assert "no-such-thing" in capsys.readouterr().err
    assert len(GROUPS) > 20
