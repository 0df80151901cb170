"""Regular expressions that all supported versions of Python read alike."""

import re
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_ROOMS = ("protocol", "hsm", "authenticator", "bridge", "server", "src")
_SET = re.compile(r"\[(?:\\.|[^\]\\])*\]")
_POSSESSIVE = re.compile(r"""r["'].*(?:\)[*+?}]\+|\(\?>)""")


def test_no_group_is_possessive() -> None:
    """Python before 3.11.5, Debian 12's own among them, matches them wrongly (gh-101955, gh-106052)."""
    assert _POSSESSIVE.search('re.compile(r"((?:a|b)*+)c")')
    found = [
        f"{path.relative_to(_ROOT)}:{number}"
        for room in _ROOMS
        for path in (_ROOT / room).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _POSSESSIVE.search(_SET.sub("", line))
    ]
    assert not found
