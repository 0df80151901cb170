"""What holds for all tests, and the fixtures that are for the project's own."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from fidoloop.authenticator.fido_applet import FidoApplet
from fidoloop.bridge.phone import Phone
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab import PUSH_TO_LOOPBACK
from fidoloop.lab_card import PIN as CARD_PIN
from fidoloop.lab_card import LabCard
from fidoloop.opensc import make_card_key, opensc_uri
from fidoloop.p11kit import P11KitServer, find_p11_kit_module, nss_softoken, through, use_p11_kit
from fidoloop.pcscd import SOCKET_NAME, SOCKET_VARIABLE, PrivatePcscd
from fidoloop.softhsm import find_softhsm_module
from fidoloop.testing.security_key import new_authenticator
from tests.lab import NSS_PIN, Lab, running_lab

# What takes minutes together, and is run where it is named, or with --long, as `make test-all` does.
_HERE = Path(__file__).parent
LONG = [
    _HERE / name
    for name in (
        "examples",
        "faults",
        "fuzz/test_openapi.py",
        "loop/test_models.py",
        "manual/test_site.py",
        "manual/test_tutorial.py",
        "plugin/test_options.py",
        "web/test_authorization_code.py",
        "web/test_lab_console.py",
        "web/test_pages_of_a_user.py",
        "web/test_phone_app_login.py",
    )
]

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("fidoloop", deadline=None)
settings.load_profile("fidoloop")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of the servers' database."""
    parser.addoption(
        "--store",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="the database behind the servers that tests run in their own process",
    )
    parser.addoption("--long", action="store_true", help="run what takes long, and nothing else")


_PCSCD = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Name this process's pcscd before anything asks for one: where to look for it is read once in a process."""
    config.stash[_PCSCD] = Path(tempfile.mkdtemp(prefix="fidoloop-pcscd-"))
    os.environ[SOCKET_VARIABLE] = str(config.stash[_PCSCD] / SOCKET_NAME)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(config.stash[_PCSCD], ignore_errors=True)


@pytest.fixture(scope="session")
def fidoloop_pcscd(pytestconfig: pytest.Config) -> Iterator[PrivatePcscd]:
    """This session's pcscd, as the plugin's, where every test of this process looks for it."""
    with PrivatePcscd(pytestconfig.stash[_PCSCD]) as pcscd:
        yield pcscd


@pytest.fixture(scope="session")
def fidoloop_p11_kit_proxy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return p11-kit-proxy.so, which shows this process SoftHSM's tokens and NSS softoken's, and no other module.

    It has a copy of SoftHSM: one process cannot have the same file's module by itself and through p11-kit.
    """
    directory = tmp_path_factory.mktemp("p11-kit")
    softhsm = Path(shutil.copy(find_softhsm_module(), directory))
    return use_p11_kit(
        directory, {"softhsm": {"module": str(softhsm)}, "nss": nss_softoken(directory / "nss", NSS_PIN)}
    )


@pytest.fixture(scope="session")
def fidoloop_proxy_token(fidoloop_make_token: Callable[[], str], fidoloop_p11_kit_proxy: Path) -> str:
    """Return the URI of a SoftHSM token reached through p11-kit-proxy, PIN included."""
    return through(fidoloop_make_token(), fidoloop_p11_kit_proxy)


@pytest.fixture(scope="session")
def fidoloop_nss_token(fidoloop_p11_kit_proxy: Path) -> str:
    """Return the URI of NSS softoken's token, PIN included: no key hardware, whatever its attributes say."""
    return f"pkcs11:token=NSS%20Certificate%20DB?module-path={fidoloop_p11_kit_proxy}&pin-value={NSS_PIN}"


@pytest.fixture(scope="session")
def fidoloop_p11_kit_server(fidoloop_make_token: Callable[[], str]) -> Iterator[P11KitServer]:
    """A process that has SoftHSM's keys; p11-kit-client.so reaches it."""
    fidoloop_make_token()  # sets the environment that the server inherits
    with P11KitServer(find_softhsm_module()) as server:
        yield server


@pytest.fixture(scope="session")
def fidoloop_remote_token(fidoloop_make_token: Callable[[], str], fidoloop_p11_kit_server: P11KitServer) -> str:
    """Return the URI of a SoftHSM token whose keys another process has, PIN included."""
    return through(fidoloop_make_token(), find_p11_kit_module("p11-kit-client.so"))


@pytest.fixture(scope="session")
def fidoloop_lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server process that knows the metadata of the session's token, for every kind of user verification."""
    with running_lab(fidoloop_token, tmp_path_factory.mktemp("lab"), settings=PUSH_TO_LOOPBACK) as lab:
        yield lab


@pytest.fixture
def enrolled_phone(fidoloop_lab: Lab) -> tuple[Phone, str]:
    """Return an enrolled phone with its keys in SoftHSM, and its user's name."""
    return fidoloop_lab.enrolled()


@pytest.fixture
def fidoloop_opensc_token(fidoloop_card: LabCard) -> str:
    """Return the URI of the virtual card through OpenSC's module, PIN included; it signs with 01 (9A) and 02 (9C)."""
    for slot in ("9a", "9c"):
        make_card_key(fidoloop_card, slot)
    return f"{opensc_uri(fidoloop_card.reader)}&pin-value={CARD_PIN}"


@pytest.fixture
def fidoloop_fido_card(
    fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, fidoloop_token: str, tmp_path: Path
) -> Iterator[LabCard]:
    """A new contactless FIDO2 card in the session's first reader, its keys in SoftHSM."""
    with (
        new_authenticator(fidoloop_token, tmp_path / "fido-card.sqlite", transports=("nfc",)) as authenticator,
        LabCard(fidoloop_pcscd, fidoloop_card_factory, FidoApplet(authenticator)) as card,
    ):
        yield card


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what takes long unless it, or something in it, is named; with --long everything else."""
    if config.getoption("long"):
        return None if any(_one_in_the_other(collection_path, path) for path in LONG) else True
    if collection_path not in LONG:
        return None
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(collection_path) for path in named) else True


def _one_in_the_other(path: Path, other: Path) -> bool:
    return path.is_relative_to(other) or other.is_relative_to(path)
