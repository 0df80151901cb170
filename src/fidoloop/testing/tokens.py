"""Tokens of a test run: made for it, with an attestation key in each, and gone after it."""

import datetime
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fidoloop.api.keys import attest_init, open_key_store
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import PIN as CARD_PIN
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd
from fidoloop.softhsm import current_softhsm_directory, make_softhsm_token

SOFTHSM_PIN = "271828"
TPM_PIN = "314159"
SO_PIN = "31415926"
_SOFTHSM_VARIABLE = "SOFTHSM2_CONF"
_numbers = itertools.count(1)


@contextmanager
def softhsm_directory() -> Iterator[Path]:
    """Yield the directory of this process's SoftHSM tokens, which is gone afterwards, and its SOFTHSM2_CONF with it.

    SoftHSM reads SOFTHSM2_CONF once in a process: what uses a directory already has its tokens there.
    """
    directory = current_softhsm_directory()
    if directory is not None:
        yield directory
        return
    before = os.environ.get(_SOFTHSM_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="fidoloop-softhsm-", ignore_cleanup_errors=True) as name:
        try:
            yield Path(name)
        finally:
            os.environ.pop(_SOFTHSM_VARIABLE, None)
            if before is not None:
                os.environ[_SOFTHSM_VARIABLE] = before


def new_label() -> str:
    """Return a label that no token of this test run has."""
    return f"fidoloop-test-{next(_numbers)}"


def new_softhsm_token(directory: Path, label: str) -> str:
    """Make a SoftHSM token and return its URI, PIN included. Raises ModuleError, KeyStoreError."""
    return make_softhsm_token(directory, label, SOFTHSM_PIN, SO_PIN)


def with_attestation(uri: str) -> str:
    """Make an attestation key in the token of a URI, and return the URI. Raises KeyStoreError."""
    with open_key_store(uri) as store:
        attest_init(store, now=datetime.datetime.now(datetime.UTC))
    return uri


@contextmanager
def piv_card_store(pcscd: PrivatePcscd, factory: Factory) -> Iterator[str]:
    """Have a PIV card in the second reader, and yield its URI, PIN and management key included."""
    with LabCard(pcscd, factory, slot=1) as card:
        yield with_attestation(f"{card.uri}?pin-value={CARD_PIN}&management-key=default")
