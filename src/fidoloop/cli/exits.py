"""Exit codes and the one table that turns error families into them."""

from enum import IntEnum


class Exit(IntEnum):
    """What the command's exit code means to a script."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    DEVICE = 3
    NETWORK = 4
    USER = 5
