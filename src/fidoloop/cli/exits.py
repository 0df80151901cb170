"""Exit codes and the one table that turns error families into them."""

from enum import IntEnum
from typing import Final

from fidoloop.hsm.errors import KeyStoreError, UriError


class Exit(IntEnum):
    """What the command's exit code means to a script."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    DEVICE = 3
    NETWORK = 4
    USER = 5


TABLE: Final[tuple[tuple[type[BaseException], Exit], ...]] = (
    (UriError, Exit.USAGE),
    (KeyStoreError, Exit.DEVICE),
)
"""Error families and their exit codes; the first row that fits counts."""


def exit_for(error: BaseException) -> Exit | None:
    """Return the exit code for an error, None for one that is no error of ours and deserves its traceback."""
    return next((code for family, code in TABLE if isinstance(error, family)), None)
