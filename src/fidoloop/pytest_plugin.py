"""pytest fixtures and options (docs/pytest.md). Installing fidoloop loads this module, and nothing else of it.

Whatever a fixture needs is imported when a test asks for it.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fidoloop.testing import options
from fidoloop.testing.options import pytest_addoption, pytest_configure

if TYPE_CHECKING:
    from fidoloop.api.laptop import Laptop
    from fidoloop.api.phone import Phone
    from fidoloop.authenticator.ctap2.device import InProcessDevice
    from fidoloop.hsm.sim.factory import Factory
    from fidoloop.lab_card import LabCard
    from fidoloop.pcscd import PrivatePcscd
    from fidoloop.swtpm import SoftwareTpm
    from fidoloop.testing.messages import Messages
    from fidoloop.testing.phones import Models, PhoneMaker
    from fidoloop.testing.server import Enrol, NewUser, Publish, ServerUnderTest
    from fidoloop.testing.uaf import UafServices


__all__ = ["pytest_addoption", "pytest_configure"]


@pytest.fixture(scope="session")
def fidoloop_make_token(pytestconfig: pytest.Config) -> "Iterator[Callable[[], str]]":
    """A function that makes an empty SoftHSM token and returns its URI, PIN included. All are gone after the session.

    They are in a directory of their own: the SOFTHSM2_CONF of this process is the plugin's until then.
    """
    from fidoloop.testing.tokens import new_label, new_softhsm_token, softhsm_directory

    with softhsm_directory() as directory:

        def make() -> str:
            with options.or_skipped(pytestconfig):
                return new_softhsm_token(directory, new_label())

        yield make


@pytest.fixture(scope="session")
def fidoloop_token(fidoloop_make_token: Callable[[], str]) -> str:
    """The URI, PIN included, of a SoftHSM token of this session, with an attestation key in it."""
    from fidoloop.testing.tokens import with_attestation

    return with_attestation(fidoloop_make_token())


@pytest.fixture
def fidoloop_fresh_token(fidoloop_make_token: Callable[[], str]) -> Iterator[str]:
    """The URI, PIN included, of an empty SoftHSM token of this test alone, deleted after it."""
    from fidoloop.hsm.uri import parse_uri
    from fidoloop.softhsm import delete_softhsm_token

    uri = fidoloop_make_token()
    yield uri
    delete_softhsm_token(parse_uri(uri).token or "")


@pytest.fixture(scope="session")
def fidoloop_tpm(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SoftwareTpm]":
    """A software TPM with its access broker, on a D-Bus bus of its own; this process's environment names it."""
    from fidoloop.swtpm import SoftwareTpm

    tpm = SoftwareTpm(tmp_path_factory.mktemp("tpm"))
    with options.or_skipped(pytestconfig):
        tpm.start()
    yield tpm
    tpm.stop()


@pytest.fixture(scope="session")
def fidoloop_tpm_token(pytestconfig: pytest.Config, fidoloop_tpm: "SoftwareTpm") -> str:
    """The URI, PIN included, of a PKCS#11 token in the software TPM."""
    from fidoloop.testing.tokens import SO_PIN, TPM_PIN

    with options.or_skipped(pytestconfig):
        return fidoloop_tpm.make_token("fidoloop-tpm", TPM_PIN, SO_PIN)


@pytest.fixture(scope="session")
def fidoloop_pcscd(pytestconfig: pytest.Config) -> "Iterator[PrivatePcscd]":
    """A pcscd of this session with two virtual readers, used by this process and its children."""
    from fidoloop.pcscd import PrivatePcscd

    with options.or_skipped(pytestconfig):
        pcscd = PrivatePcscd()
    with pcscd, pcscd.use():
        yield pcscd


@pytest.fixture(scope="session")
def fidoloop_card_factory() -> "Factory":
    """The factory of this session's virtual cards; its certificate is what their attestation leads to."""
    import datetime

    from fidoloop.hsm.sim.factory import Factory

    return Factory.create(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture
def fidoloop_card(fidoloop_pcscd: "PrivatePcscd", fidoloop_card_factory: "Factory") -> "Iterator[LabCard]":
    """A new virtual PIV card in the session's first reader; it can be pulled and put in again."""
    from fidoloop.lab_card import LabCard

    with LabCard(fidoloop_pcscd, fidoloop_card_factory) as card:
        yield card


@pytest.fixture
def fidoloop_radios(pytestconfig: pytest.Config) -> Iterator[tuple[str, str]]:
    """The HCI transports of two virtual Bluetooth radios in range of each other, for a laptop and for a phone."""
    if not all(map(options.installed, ("bleak", "bumble"))):
        options.missing(pytestconfig, "Bluetooth needs bleak and bumble: pip install 'fidoloop[ble]'")
    from fidoloop.lab_radio import radios_on_sockets

    # A socket's path has at most 107 bytes; a directory of a test may be longer.
    with (
        tempfile.TemporaryDirectory(prefix="fidoloop-radio-") as directory,
        radios_on_sockets(Path(directory), 2) as (laptop, phone),
    ):
        yield laptop, phone


@pytest.fixture
def fidoloop_security_key(fidoloop_token: str, tmp_path: Path) -> "Iterator[InProcessDevice]":
    """A new FIDO2 security key in this process, its keys in SoftHSM, as python-fido2's clients take devices.

    Its user is always there; `connect()` is its power switch.
    """
    from fidoloop.testing.security_key import new_authenticator

    with new_authenticator(fidoloop_token, tmp_path / "security-key.sqlite") as authenticator:
        from fidoloop.authenticator.ctap2.device import InProcessDevice

        yield InProcessDevice(authenticator)


@pytest.fixture
def fidoloop_piv_token(fidoloop_pcscd: "PrivatePcscd", fidoloop_card_factory: "Factory") -> Iterator[str]:
    """The URI, PIN and management key included, of a new virtual PIV card in the session's second reader."""
    from fidoloop.testing.tokens import piv_card_store

    with piv_card_store(fidoloop_pcscd, fidoloop_card_factory) as uri:
        yield uri


@pytest.fixture
def fidoloop_key_store(request: pytest.FixtureRequest) -> str:
    """The URI, PIN included, of where phones have their keys: what --fidoloop-keys says, or the test's own parameter.

    `@pytest.mark.parametrize("fidoloop_key_store", ["softhsm", "tpm", "piv"], indirect=True)` tries them all.
    """
    wanted: str = getattr(request, "param", None) or request.config.getoption("--fidoloop-keys")
    options.check_keys(wanted)
    uri: str = request.getfixturevalue(options.KINDS[wanted]) if wanted in options.KINDS else wanted
    return uri


@pytest.fixture(scope="session")
def fidoloop_server_settings() -> str:
    """The text of the fidoloop.toml that the plugin's own server has; override it for settings of yours."""
    return ""


@pytest.fixture(scope="session")
def fidoloop_server(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> "Iterator[ServerUnderTest]":
    """The server under test: that of --fidoloop-server, or one of the plugin's own on a free port, with SQLite."""
    from fidoloop.testing.server import ServerUnderTest, own_server

    url = pytestconfig.getoption("--fidoloop-server")
    if url is not None:
        yield ServerUnderTest(url.rstrip("/"), pytestconfig.getoption("--fidoloop-ca"), options.api_key(pytestconfig))
        return
    settings: str = request.getfixturevalue("fidoloop_server_settings")
    tls = pytestconfig.getoption("--fidoloop-tls") == "lab"
    with own_server(tmp_path_factory.mktemp("fidoloop-server"), settings=settings, tls=tls) as server:
        yield server


@pytest.fixture(scope="session")
def fidoloop_local_server(fidoloop_server: "ServerUnderTest") -> "ServerUnderTest":
    """As `fidoloop_server`, for tests that do what only the plugin's own server allows: others are skipped."""
    if fidoloop_server.local is None:
        pytest.skip("needs the plugin's own server: --fidoloop-server names another")
    return fidoloop_server


@pytest.fixture(scope="session")
def fidoloop_new_user(fidoloop_server: "ServerUnderTest", pytestconfig: pytest.Config) -> "NewUser":
    """A function that returns the name of a user to enrol. Override it to make users at a server of yours.

    At the plugin's own server it is a new one each time; elsewhere those of --fidoloop-user, in turn.
    """
    import itertools

    from fidoloop.testing.server import new_username

    names: list[str] = pytestconfig.getoption("--fidoloop-user")
    local, in_turn = fidoloop_server.local, itertools.cycle(names)

    def new_user() -> str:
        if local is not None:
            username = new_username()
            local.add_user(username)
            return username
        if not names:
            pytest.skip("needs a user of that server: --fidoloop-user, or a fixture fidoloop_new_user of your own")
        return next(in_turn)

    return new_user


@pytest.fixture
def fidoloop_user(fidoloop_new_user: "NewUser") -> str:
    """The name of this test's user."""
    return fidoloop_new_user()


@pytest.fixture(scope="session")
def fidoloop_enrol(fidoloop_server: "ServerUnderTest") -> "Enrol":
    """A function that returns a registration token for a user, as the text of its QR code. Override it for your way.

    Elsewhere than at the plugin's own server the token is asked for by a dispatch, which needs the API credential.
    """
    from fidoloop.testing.server import dispatched_enrolment

    if fidoloop_server.local is not None:
        return fidoloop_server.local.enrol

    def enrol(username: str) -> str:
        if fidoloop_server.api_key is None:
            pytest.skip(
                "needs the server's API credential: --fidoloop-api-key, or a fixture fidoloop_enrol of your own"
            )
        return dispatched_enrolment(fidoloop_server, username)

    return enrol


@pytest.fixture(scope="session")
def fidoloop_publish_metadata(fidoloop_server: "ServerUnderTest", pytestconfig: pytest.Config) -> "Publish":
    """A function that makes the server know the models of phones, by their metadata statements. Override it for yours.

    They are written to --fidoloop-metadata; without it a server elsewhere has to know them already.
    """
    from fidoloop.testing.metadata import publishing

    local = fidoloop_server.local
    directory = pytestconfig.getoption("--fidoloop-metadata") if local is None else local.home / "metadata"
    return publishing(directory)


@pytest.fixture(scope="session")
def fidoloop_models(fidoloop_publish_metadata: "Publish") -> "Models":
    """Which models the server was told of; not for tests."""
    from fidoloop.testing.phones import Models

    return Models(fidoloop_publish_metadata)


@pytest.fixture
def fidoloop_messages() -> "Messages":
    """Every HTTP message of this test's phones and laptops, decoded."""
    from fidoloop.testing.messages import Messages

    return Messages()


@pytest.fixture
def fidoloop_make_phone(  # noqa: PLR0917 - pytest passes them by name
    fidoloop_server: "ServerUnderTest",
    fidoloop_key_store: str,
    fidoloop_models: "Models",
    fidoloop_enrol: "Enrol",
    fidoloop_messages: "Messages",
    tmp_path: Path,
) -> "Iterator[PhoneMaker]":
    """A function that makes phones, enrolled for a user where one is named; see PhoneMaker."""
    from fidoloop.testing.phones import PhoneMaker

    with contextlib.ExitStack() as opened:
        yield PhoneMaker(
            server=fidoloop_server,
            keys=fidoloop_key_store,
            directory=tmp_path,
            models=fidoloop_models,
            enrol=fidoloop_enrol,
            messages=fidoloop_messages,
            opened=opened,
        )


@pytest.fixture
def fidoloop_phone(fidoloop_make_phone: "PhoneMaker", fidoloop_user: str) -> "Phone":
    """A phone that is enrolled for `fidoloop_user`, its keys in `fidoloop_key_store`."""
    return fidoloop_make_phone(fidoloop_user)


@pytest.fixture
def fidoloop_laptop(fidoloop_server: "ServerUnderTest", fidoloop_messages: "Messages") -> "Iterator[Laptop]":
    """A laptop at the server: it dispatches tokens, shows QR codes, and follows what comes of them."""
    from fidoloop.api.laptop import Laptop

    server = fidoloop_server
    with Laptop(server.url, ca=server.ca, api_key=server.api_key, recorder=fidoloop_messages.record) as laptop:
        yield laptop


@pytest.fixture
def fidoloop_uaf_services(
    fidoloop_server: "ServerUnderTest", fidoloop_messages: "Messages", pytestconfig: pytest.Config
) -> "UafServices":
    """The server's UAF services, for tests without dispatched tokens: registers phones and logs them in.

    Of servers that are not nevisFIDO's kind --fidoloop-uaf-path says where they are.
    """
    from fidoloop.testing.uaf import UafServices

    return UafServices(fidoloop_server, options.uaf_paths(pytestconfig), fidoloop_messages)
