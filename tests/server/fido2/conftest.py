import datetime
from collections.abc import Callable, Iterator

import pytest

from fidoloop.authenticator.attestation import attest_init
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store


@pytest.fixture(scope="session")
def token_store(fidoloop_make_token: Callable[[], str]) -> Iterator[KeyStore]:
    """A token with an attestation key."""
    with open_key_store(fidoloop_make_token()) as opened:
        attest_init(opened, now=datetime.datetime.now(datetime.UTC))
        yield opened
