"""pytest fixtures: tokens, virtual PIV cards, a server process with lab TLS, enrolled phones. Installing loads them."""

import contextlib
import datetime
import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.card_authenticator import CardAuthenticator
from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.fido_applet import FidoApplet
from fidoloop.authenticator.models import Form, adopted_models, metadata_statement, token_statements
from fidoloop.authenticator.user_verification import InTheField, TokenPin, UserVerifier
from fidoloop.bridge.http import Server
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.laptop import Laptop
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.uri import parse_uri
from fidoloop.lab import PUSH_TO_LOOPBACK, LabServer
from fidoloop.lab_card import PIN as CARD_PIN
from fidoloop.lab_card import LabCard
from fidoloop.opensc import make_card_key, opensc_uri
from fidoloop.p11kit import P11KitServer, find_p11_kit_module, nss_softoken, through, use_p11_kit
from fidoloop.pcscd import PrivatePcscd
from fidoloop.protocol.lab import LAB_FACET_ID
from fidoloop.protocol.uaf.metadata import MetadataStatement
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, Algorithm, AttestationType, UserVerification
from fidoloop.server.settings.layers import FILE_NAME
from fidoloop.softhsm import current_softhsm_directory, find_softhsm_module, make_softhsm_token
from fidoloop.swtpm import SoftwareTpm

SOFTHSM_PIN = "271828"
TPM_PIN = "314159"
NSS_PIN = "161803"
SURROGATE_POLICY = "surrogate_only"
"""A policy of the lab server beside those it ships: surrogate attestation and nothing else."""

_SURROGATE = MatchCriteria(
    authenticationAlgorithms=(int(Algorithm.SECP256R1_ECDSA_SHA256_RAW),),
    assertionSchemes=(ASSERTION_SCHEME,),
    attestationTypes=(int(AttestationType.BASIC_SURROGATE),),
)
_METHODS = {
    "pin": UserVerification.PASSCODE,
    "prompt": UserVerification.PRESENCE,
    "auto": UserVerification.NONE,
}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Lab:
    """A running server that knows the metadata of `store`'s token, and the token."""

    server: LabServer
    store: KeyStore
    api_key: str
    laptop: Laptop
    directory: Path
    opened: contextlib.ExitStack

    def new_user(self) -> str:
        """Add a user with a name of its own and return it."""
        username = f"user-{next(_numbers)}"
        self.server.add_user(username)
        return username

    def phone(
        self,
        *,
        verification: str = "pin",
        verifier: UserVerifier | None = None,
        confirm: Callable[[DispatchedToken], bool] = lambda _token: True,
        profile: Profile | None = None,
        facet_id: str | None = None,
        form: Form = Form.FIRST_FACTOR,
        cards: Sequence[CardAuthenticator] = (),
    ) -> Phone:
        """Return a phone that is not enrolled yet; its user types the token's PIN unless `verifier` says otherwise."""
        if profile is None:
            profile = Profile(self.directory / f"phone-{next(_numbers)}.sqlite")
            self.opened.callback(profile.close)
            uri = parse_uri("pkcs11:").without_pin()
            profile.create(
                keys_uri=uri,
                verification=verification,
                ca=str(self.server.ca),
                facet_id=facet_id or LAB_FACET_ID,
                form=form,
            )
        user = verifier or TokenPin(self.store, lambda _request, _tries: SOFTHSM_PIN)
        phone = Phone(profile, self.store, user, confirm=confirm, cards=cards)
        self.opened.callback(phone.close)
        return phone

    def enrolled(self, **options: Any) -> tuple[Phone, str]:  # noqa: ANN401 - options of `phone`
        """Return a phone enrolled for a new user, and the user's name."""
        username = self.new_user()
        phone = self.phone(**options)
        phone.register(self.server.enrol(username), server=self.server.url, target_name=f"{username}'s phone")
        return phone, username


@contextlib.contextmanager
def running_lab(
    token: str,
    directory: Path,
    *,
    settings: str = "",
    ca: Path | None = None,
    policies: Mapping[str, Policy] = MappingProxyType({}),
    forms: Sequence[Form] = (Form.FIRST_FACTOR,),
    metadata: Sequence[MetadataStatement] = (),
) -> Iterator[Lab]:
    """Run a lab in `directory` on the `token` of a URI.

    `settings` is the text of its fidoloop.toml, `ca` the CA that phone and laptop trust in the place of the lab's own,
    `policies` are named ones beside those it has anyway, `forms` those of the models that it knows,
    `metadata` that of others.
    """
    server = LabServer(directory / "home")
    server.home.mkdir(parents=True)
    (server.home / FILE_NAME).write_text(settings, encoding="utf-8")
    with contextlib.ExitStack() as opened:
        store = opened.enter_context(open_key_store(token))
        for method in _METHODS.values():
            for form in forms:
                server.add_metadata(token_statements(store, method, form))
            server.add_metadata([metadata_statement(model, ()) for model in adopted_models(method)])
        server.add_metadata(metadata)
        for name, policy in {SURROGATE_POLICY: Policy(accepted=((_SURROGATE,),)), **policies}.items():
            server.add_policy(name, policy)
        api_key = server.add_api_key()
        opened.enter_context(server)
        server.ca = ca or server.ca
        connection = opened.enter_context(Server(server.url, ca=server.ca, api_key=api_key))
        yield Lab(server, store, api_key, Laptop(connection), directory, opened)


@pytest.fixture(scope="session")
def fidoloop_make_token(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return a function that makes a new SoftHSM token and returns its URI, PIN included.

    One process has one directory of SoftHSM tokens (SOFTHSM2_CONF is read once): every token lies in it.
    """
    directory: Path = current_softhsm_directory() or tmp_path_factory.mktemp("softhsm")

    def make() -> str:
        return make_softhsm_token(directory, f"fidoloop-test-{next(_numbers)}", SOFTHSM_PIN, "31415926")

    return make


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
def fidoloop_tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    """A software TPM with its access broker, on a D-Bus session bus of its own; this process's environment names it."""
    with SoftwareTpm(tmp_path_factory.mktemp("tpm")) as tpm:
        yield tpm


@pytest.fixture(scope="session")
def fidoloop_tpm_token(fidoloop_tpm: SoftwareTpm) -> str:
    """Return the URI of a PKCS#11 token in the software TPM, PIN included."""
    return fidoloop_tpm.make_token("fidoloop-tpm", TPM_PIN, "31415926")


@pytest.fixture(scope="session")
def fidoloop_token(fidoloop_make_token: Callable[[], str]) -> str:
    """Return the URI of a SoftHSM token of this test session, with an attestation key in it."""
    uri = fidoloop_make_token()
    with open_key_store(uri) as store:
        attest_init(store, now=datetime.datetime.now(datetime.UTC))
    return uri


@pytest.fixture(scope="session")
def fidoloop_lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A server process that knows the metadata of the session's token, for every kind of user verification."""
    with running_lab(fidoloop_token, tmp_path_factory.mktemp("lab"), settings=PUSH_TO_LOOPBACK) as lab:
        yield lab


@pytest.fixture
def fidoloop_phone(fidoloop_lab: Lab) -> tuple[Phone, str]:
    """Return an enrolled phone with its keys in SoftHSM, and its user's name."""
    return fidoloop_lab.enrolled()


@pytest.fixture(scope="session")
def fidoloop_pcscd() -> Iterator[PrivatePcscd]:
    """A pcscd of this test session with two virtual readers, used by this process and its children."""
    with PrivatePcscd() as pcscd, pcscd.use():
        yield pcscd


@pytest.fixture(scope="session")
def fidoloop_card_factory() -> Factory:
    """Return the factory of this session's virtual cards; its certificate is what their attestation leads to."""
    return Factory.create(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture
def fidoloop_card(fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory) -> Iterator[LabCard]:
    """A new virtual PIV card in the session's first reader."""
    with LabCard(fidoloop_pcscd, fidoloop_card_factory) as card:
        yield card


@pytest.fixture
def fidoloop_opensc_token(fidoloop_card: LabCard) -> str:
    """Return the URI of the virtual card through OpenSC's module, PIN included; it signs with 01 (9A) and 02 (9C)."""
    for slot in ("9a", "9c"):
        make_card_key(fidoloop_card, slot)
    return f"{opensc_uri(fidoloop_card.reader)}&pin-value={CARD_PIN}"


@pytest.fixture
def fidoloop_radios(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Return the HCI transports of two Bluetooth radios in range of each other, for a laptop and for a phone."""
    from fidoloop.lab_radio import radios_on_sockets  # needs the extra `ble`

    with radios_on_sockets(tmp_path, 2) as (laptop, phone):
        yield laptop, phone


@pytest.fixture
def fidoloop_security_key(fidoloop_token: str, tmp_path: Path) -> Iterator[InProcessDevice]:
    """A new FIDO2 security key in this process, its keys in SoftHSM, as python-fido2's clients take devices.

    Its user is always there; `connect()` is its power switch.
    """
    with new_authenticator(fidoloop_token, tmp_path / "security-key.sqlite") as authenticator:
        yield InProcessDevice(authenticator)


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


@contextlib.contextmanager
def new_authenticator(token: str, path: Path, *, transports: tuple[str, ...] = ()) -> Iterator[Authenticator]:
    """A new CTAP2 authenticator with its keys in the `token` of a URI, where none of them stays."""
    with open_key_store(token) as store, contextlib.ExitStack() as opened:
        state = Ctap2State(path, store)
        opened.callback(state.close)
        authenticator = Authenticator(store, state, InTheField(), transports=transports)
        opened.callback(authenticator.core.destroy_all_keys)
        yield authenticator
