"""Writes the tables of docs/performance.md from what `make bench` and `python -m bench.profiles` left in build/."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import Row

PAGE = Path("docs/performance.md")
MEASURED, MACHINE = Path("build/bench.json"), Path("build/bench-machine.json")
PROFILES = Path("build/profiles.json")
_MARKED = "<!-- {name} -->\n{content}<!-- end of {name} -->\n"
_HEADINGS = ("Figure", "Value", "Unit", "Floor", "Ratio", "Wanted", "Result")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as people read it: figure, value, unit, floor, ratio, what is wanted, the result."""
    wanted = "" if row.wanted is None else f"ratio ≥ {row.wanted:g}"
    if row.limit is not None:
        wanted = f"≤ {row.limit:g} {row.unit.partition(',')[0]}"
    return (
        row.name,
        "" if row.value is None else _number(row.value),
        row.unit,
        "" if row.floor is None else _number(row.floor),
        "" if row.ratio is None else f"{row.ratio:.3f}",
        wanted,
        row.result,
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.3g}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(page: str, name: str, content: str) -> str:
    """Return the page with `content` between the comments that name its place. Raises ValueError: there is none."""
    place = re.compile(re.escape(f"<!-- {name} -->\n") + ".*?" + re.escape(f"<!-- end of {name} -->\n"), re.DOTALL)
    if place.search(page) is None:
        raise ValueError(f"{PAGE} has no place for {name}")
    return place.sub(lambda _: _MARKED.format(name=name, content=content), page)


def _profile(name: str, shares: Mapping[str, float]) -> str:
    return table(
        (name[:1].upper() + name[1:], "% of the time"), [(kind, f"{share:.1f}") for kind, share in shares.items()]
    )


def main() -> int:
    """Fill the page in."""
    measured = json.loads(MEASURED.read_text("utf-8"))
    rows = [Row(**{key: value for key, value in row.items() if key != "result"}) for row in measured]
    machine: dict[str, str] = json.loads(MACHINE.read_text("utf-8"))
    missed = [row.name for row in rows if row.result == "missed"]
    page = filled(PAGE.read_text("utf-8"), "figures", table(_HEADINGS, [cells(row) for row in rows]))
    page = filled(page, "machine", table(("", ""), [pair for pair in machine.items() if pair[1]]))
    if PROFILES.exists():
        profiles: dict[str, dict[str, float]] = json.loads(PROFILES.read_text("utf-8"))
        page = filled(page, "profiles", "\n".join(_profile(name, shares) for name, shares in profiles.items()))
    PAGE.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{len(rows)} figures, missed: {', '.join(missed) or 'none'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
