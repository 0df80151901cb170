"""FIDO2 security keys of a test run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.user_verification import InTheField
from fidoloop.hsm.open import open_key_store


@contextlib.contextmanager
def new_authenticator(token: str, path: Path, *, transports: tuple[str, ...] = ()) -> Iterator[Authenticator]:
    """A new CTAP2 authenticator with its keys in the `token` of a URI, where none of them stays."""
    with open_key_store(token) as store, contextlib.ExitStack() as opened:
        state = Ctap2State(path, store)
        opened.callback(state.close)
        authenticator = Authenticator(store, state, InTheField(), transports=transports)
        opened.callback(authenticator.core.destroy_all_keys)
        yield authenticator
