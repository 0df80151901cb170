"""Who uses a home directory: any number of servers and commands at once, or one restore alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fidoloop.server.errors import ConfigError

_NAME = "server.lock"


@contextmanager
def using_home(home: Path, *, alone: bool = False) -> Iterator[None]:
    """Keep the home, which is there, while the context is open; it falls with the process, however that ends.

    Raises:
        ConfigError: somebody has it alone, or, where it is wanted `alone`, at all.
    """
    try:
        lock = os.open(home / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{home}: {error.strerror}") from None
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        who = "a server or a command uses it: stop it first" if alone else "a restore is under way"
        raise ConfigError(f"{home}: {who}") from None
    finally:
        os.close(lock)
