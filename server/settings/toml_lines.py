"""Finds the line of a key in a TOML text, which the standard library's parser does not keep.

The parser itself is asked: the key is there from the first beginning of the text on that reaches behind its value.
"""

import re
import tomllib
from collections.abc import Sequence

MAX_TEXT = 65536
"""Characters; the search takes time that grows with the square of the lines."""
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|(end of document))\)$")


def line_of(text: str, path: Sequence[str]) -> int:
    """Return the line, from 1, on which the key at `path` (tables, then key) of the valid `text` begins."""
    lines = text.splitlines(keepends=True)
    complete = 0
    for count in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        if _has(document, path):
            return _first_line_with_text(lines, complete)
        complete = count
    return 1


def split_error(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """Return the line, from 1, and the reason of a text that is no TOML."""
    message = str(error)
    found = _WHERE.search(message)
    if found is None:
        return 1, message
    line = int(found.group(1)) if found.group(1) else max(1, len(text.splitlines()))
    return line, message[: found.start()]


def _has(document: object, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True


def _first_line_with_text(lines: Sequence[str], start: int) -> int:
    for number, line in enumerate(lines[start:], start + 1):
        if line.strip() and not line.lstrip().startswith("#"):
            return number
    return start + 1
