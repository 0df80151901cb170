import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyStore, KeyUsage, RsaHardwareKey
from fidoloop.hsm.open import open_key_store
from fidoloop.softhsm import current_softhsm_directory, make_softhsm_token

from .quirky import Quirky, build, quirky_module

PIN = "271828"
EC_KEYS = {"P-256": KeyAlgorithm.P256, "P-384": KeyAlgorithm.P384}
_numbers = itertools.count()


@pytest.fixture(scope="session")
def make_token(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes a SoftHSM token with a label of its own; returns its URI with the PIN in it."""
    directory: Path = current_softhsm_directory() or tmp_path_factory.mktemp("softhsm")

    def make(label: str | None = None) -> str:
        return make_softhsm_token(directory, label or f"hsm-test-{next(_numbers)}", PIN, "31415926")

    return make


@pytest.fixture(scope="session")
def shared(make_token: Callable[[], str]) -> Iterator[KeyStore]:
    """A store for tests that only add keys with ids of their own."""
    with open_key_store(make_token()) as store:
        yield store


@pytest.fixture
def uri(make_token: Callable[[], str]) -> str:
    return make_token()


@pytest.fixture
def store(uri: str) -> Iterator[KeyStore]:
    with open_key_store(uri) as opened:
        yield opened


@pytest.fixture(scope="session")
def sign_key(shared: KeyStore) -> EcHardwareKey:
    key = shared.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=b"ec-sign", label="signs")
    assert isinstance(key, EcHardwareKey)
    return key


@pytest.fixture(scope="session")
def derive_key(shared: KeyStore) -> EcHardwareKey:
    key = shared.generate(KeyAlgorithm.P256, KeyUsage.DERIVE, key_id=b"ec-derive", label="derives")
    assert isinstance(key, EcHardwareKey)
    return key


@pytest.fixture(scope="session", params=[*EC_KEYS])
def any_sign_key(request: pytest.FixtureRequest, shared: KeyStore) -> EcHardwareKey:
    """Signs; one key of each curve."""
    key = shared.generate(EC_KEYS[request.param], KeyUsage.SIGN, key_id=request.param.encode(), label="signs")
    assert isinstance(key, EcHardwareKey)
    return key


@pytest.fixture(scope="session", params=[*EC_KEYS])
def any_derive_key(request: pytest.FixtureRequest, shared: KeyStore) -> EcHardwareKey:
    """Agrees on keys; one key of each curve."""
    key_id = b"derive " + request.param.encode()
    key = shared.generate(EC_KEYS[request.param], KeyUsage.DERIVE, key_id=key_id, label="derives")
    assert isinstance(key, EcHardwareKey)
    return key


@pytest.fixture(scope="session")
def rsa_sign_key(shared: KeyStore) -> RsaHardwareKey:
    key = shared.generate(KeyAlgorithm.RSA2048, KeyUsage.SIGN, key_id=b"rsa-sign", label="signs")
    assert isinstance(key, RsaHardwareKey)
    return key


@pytest.fixture(scope="session")
def rsa_decrypt_key(shared: KeyStore) -> RsaHardwareKey:
    key = shared.generate(KeyAlgorithm.RSA2048, KeyUsage.DECRYPT, key_id=b"rsa-decrypt", label="decrypts")
    assert isinstance(key, RsaHardwareKey)
    return key


@pytest.fixture(scope="session")
def quirky_built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("quirky"))


@pytest.fixture
def quirky(quirky_built: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Quirky:
    """A module with a SoftHSM token that takes on the quirks a test tells it."""
    for name in ("QUIRKY_TARGET", "QUIRKY_TARGET_PIN", "QUIRKY_PIN", "QUIRKY_LOG", "QUIRKS"):
        monkeypatch.setenv(name, "")
    return quirky_module(quirky_built, tmp_path, uri)
