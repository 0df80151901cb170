from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fidoloop.hsm.keystore import KeyStore
from fidoloop.protocol.uaf.registry import UserVerification
from tests.authenticator.ctap2.lab import Lab, LabMaker


@pytest.fixture
def make_lab(store: KeyStore, tmp_path: Path) -> Iterator[LabMaker]:
    """Return a function that makes a lab on a token with an attestation key, or on another token."""
    made: list[Lab] = []

    def make(*, token: KeyStore | None = None, method: UserVerification = UserVerification.PRESENCE) -> Lab:
        made.append(Lab(token or store, tmp_path / f"{len(made)}.sqlite", method=method))
        return made[-1]

    yield make
    for one in made:
        one.authenticator.core.destroy_all_keys()
        one.state.close()


@pytest.fixture
def lab(make_lab: LabMaker) -> Lab:
    return make_lab()


@pytest.fixture
def pin_lab(lab: Lab) -> Lab:
    """An authenticator with a PIN."""
    lab.set_pin()
    return lab


@pytest.fixture
def uv_lab(make_lab: Callable[..., Lab]) -> Lab:
    """An authenticator that verifies users itself."""
    return make_lab(method=UserVerification.PASSCODE)
