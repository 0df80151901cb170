"""What targets have in common."""

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.utils import CryptographyDeprecationWarning

T = TypeVar("T")

# What it still reads and will not for ever is told by a warning; nobody is shown it here.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
warnings.filterwarnings("ignore", category=UserWarning)


def outcome(read: Callable[[], T], *documented: type[Exception]) -> T | Exception:
    """Return what `read` returns, or the error it raises where that is one of those it documents."""
    try:
        return read()
    except documented as error:
        return error


def accepted(read: Callable[[], T], *documented: type[Exception]) -> T | None:
    """Return what `read` returns the first time and the second; None where it refuses by a documented error, twice."""
    first, second = outcome(read, *documented), outcome(read, *documented)
    if isinstance(first, Exception):
        assert type(first) is type(second), f"refused by {first!r}, then {second!r}"
        assert str(first) == str(second), f"refused by {first!r}, then {second!r}"
        return None
    assert first == second or repr(first) == repr(second), "read another way the second time"
    return first


def split(data: bytes, pieces: int) -> list[bytes]:
    """Return `data` cut at its first `pieces` - 1 empty lines; what is not there is empty."""
    found = data.split(b"\n\n", pieces - 1)
    return found + [b""] * (pieces - len(found))


def text(data: bytes) -> str:
    """Return `data` as text; what is no UTF-8 becomes half a surrogate pair, as in Python's command lines."""
    return data.decode("utf-8", "surrogateescape")


def json_or(data: bytes, otherwise: object) -> object:
    """Return the JSON value of `data` as Python's own reader has it, which takes nearly everything."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return otherwise


def scratch() -> Path:
    """Return a new folder that ends with the process."""
    folder = tempfile.TemporaryDirectory(prefix="fidoloop-fuzz-")
    _FOLDERS.append(folder)
    return Path(folder.name)


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
