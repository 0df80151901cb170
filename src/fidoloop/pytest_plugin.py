"""pytest fixtures: a SoftHSM token, a server, an enrolled phone. Loaded by installing fidoloop."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from fidoloop.softhsm import current_softhsm_directory, make_softhsm_token

SOFTHSM_PIN = "271828"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def fidoloop_make_token(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return a function that makes a new SoftHSM token and returns its URI, PIN included.

    One process has one directory of SoftHSM tokens (SOFTHSM2_CONF is read once): every token lies in it.
    """
    directory: Path = current_softhsm_directory() or tmp_path_factory.mktemp("softhsm")

    def make() -> str:
        return make_softhsm_token(directory, f"fidoloop-test-{next(_numbers)}", SOFTHSM_PIN, "31415926")

    return make
