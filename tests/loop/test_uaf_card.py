"""A UAF card in the virtual reader of a real pcscd as the phone's authenticator, through the real server."""

import datetime
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fidoloop.authenticator.attestation import attest_init
from fidoloop.authenticator.card_authenticator import UafCardUser
from fidoloop.authenticator.models import card_statements
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.uaf_applet import UafApplet
from fidoloop.authenticator.user_verification import AutoApprove, VerificationRequest
from fidoloop.bridge.errors import ClientFailureError, ServerRefusedError
from fidoloop.bridge.phone import Phone
from fidoloop.bridge.profile import Profile
from fidoloop.bridge.uaf_exchange import Result
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.uaf_card import UafCard
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd
from fidoloop.protocol.uaf.policy import MatchCriteria, Policy
from fidoloop.protocol.uaf.registry import ASSERTION_SCHEME, Algorithm, AttestationType
from fidoloop.protocol.uaf.status import AsmStatus, ClientError
from tests.lab import SOFTHSM_PIN, Lab, running_lab

SURROGATE = Policy(
    accepted=(
        (
            MatchCriteria(
                authenticationAlgorithms=(int(Algorithm.SECP256R1_ECDSA_SHA256_RAW),),
                assertionSchemes=(ASSERTION_SCHEME,),
                attestationTypes=(int(AttestationType.BASIC_SURROGATE),),
            ),
        ),
    )
)


class Person:
    """Types PINs, remembers what was asked, takes the first account."""

    def __init__(self, *pins: str | None) -> None:
        self.pins = list(pins)
        self.asked: list[tuple[VerificationRequest, int]] = []

    def ask(self, request: VerificationRequest, tries_left: int) -> str | None:
        self.asked.append((request, tries_left))
        return self.pins.pop(0) if self.pins else SOFTHSM_PIN


@pytest.fixture(scope="module")
def card_store(fidoloop_make_token: Callable[[], str]) -> Iterator[KeyStore]:
    """The token that the card's applet keeps its keys in: not the phone's."""
    with open_key_store(fidoloop_make_token()) as store:
        attest_init(store, now=datetime.datetime.now(datetime.UTC))
        yield store


@pytest.fixture(scope="module")
def lab(fidoloop_token: str, card_store: KeyStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("uaf-card")
    statements = card_statements(card_store)
    with running_lab(fidoloop_token, directory, policies={"surrogate": SURROGATE}, metadata=statements) as lab:
        yield lab


@pytest.fixture(params=[True, False], ids=["get-response", "announced-length"])
def card(
    request: pytest.FixtureRequest,
    fidoloop_pcscd: PrivatePcscd,
    fidoloop_card_factory: Factory,
    card_store: KeyStore,
    tmp_path: Path,
) -> Iterator[LabCard]:
    state = AuthenticatorState(tmp_path / "uaf.sqlite", card_store)
    applet = UafApplet(card_store, state, get_response=request.param)
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, applet) as card:
        yield card
    state.close()


def phone_with(lab: Lab, card: LabCard, person: Person) -> Phone:
    cards = UafCardUser(UafCard(card.reader), person.ask, lambda _names: 0).authenticators()
    return lab.phone(verification="auto", verifier=AutoApprove(), cards=cards)


def test_a_card_registers_logs_in_and_is_deregistered(lab: Lab, card: LabCard, card_store: KeyStore) -> None:
    person, username = Person(), lab.new_user()
    phone = phone_with(lab, card, person)
    before = {info.key_id for info in card_store.list()}
    ((aaid, key_id),) = phone.register(lab.server.enrol(username), server=lab.server.url).keys
    assert aaid == "F10B#0811"
    (made,) = [info for info in card_store.list() if info.key_id not in before]
    assert phone.asm.registrations() == []  # what the card holds the card knows
    login = lab.laptop.dispatch(username=username, dispatcher="link")
    assert phone.scan(login.response).keys == ((aaid, key_id),)
    final = lab.laptop.status(login.session_id)
    assert (final.status, [entry.aaid for entry in final.authenticators or ()]) == ("succeeded", [aaid])
    assert [request.operation for request, _ in person.asked] == ["registration", "authentication"]
    assert phone.remove(phone.accounts()[0]) == ((aaid, key_id),)
    assert made.key_id not in {info.key_id for info in card_store.list()}


def test_the_server_has_the_card_delete_a_key(lab: Lab, card: LabCard, card_store: KeyStore) -> None:
    phone, username = phone_with(lab, card, Person()), lab.new_user()
    before = {info.key_id for info in card_store.list()}
    registered = phone.register(lab.server.enrol(username), server=lab.server.url).keys
    (account,) = phone.accounts()
    assert len(phone.keys_on_cards(account)) == 1
    (target,) = lab.laptop.targets(username)
    sent = lab.laptop.dispatch(
        operation="Dereg", username=username, target_id=target.id, dispatcher="link", context={"mode": "username"}
    )
    assert phone.deregister(sent.response).keys == registered
    assert {info.key_id for info in card_store.list()} == before
    assert phone.keys_on_cards(account) == []


def test_the_policy_chooses_among_what_the_card_is(lab: Lab, card: LabCard) -> None:
    phone = phone_with(lab, card, Person())
    enrolment = lab.laptop.dispatch(operation="Reg", username=lab.new_user(), dispatcher="link", policy="surrogate")
    ((aaid, _),) = phone.register(enrolment.response, server=lab.server.url).keys
    assert aaid == "F10B#0891"
    algorithm = Algorithm.SECP384R1_ECDSA_SHA384_RAW
    ((aaid, _),) = phone.register(lab.server.enrol(lab.new_user()), server=lab.server.url, algorithm=algorithm).keys
    assert aaid == "F10B#2801"


def test_the_card_logs_in_at_another_phone_without_a_user_name(lab: Lab, card: LabCard) -> None:
    username = lab.new_user()
    phone_with(lab, card, Person()).register(lab.server.enrol(username), server=lab.server.url)
    other, theirs = phone_with(lab, card, Person()), lab.new_user()
    other.register(lab.server.enrol(theirs), server=lab.server.url)
    # Two accounts on the card: this person takes the first.
    qr = lab.laptop.dispatch(dispatcher="link")
    assert other.scan(qr.response).status == 1200
    assert lab.laptop.status(qr.session_id).userId == username


def test_wrong_pins_are_asked_for_again_and_three_are_enough(lab: Lab, card: LabCard) -> None:
    person = Person("000000")
    phone = phone_with(lab, card, person)
    username = lab.new_user()
    phone.register(lab.server.enrol(username), server=lab.server.url)
    assert [tries for _, tries in person.asked] == [3, 2]
    person.pins = ["000000"] * 3
    login = lab.laptop.dispatch(username=username, dispatcher="link")
    with pytest.raises(ClientFailureError) as refused:
        phone.scan(login.response)
    assert refused.value.asm_status is AsmStatus.ACCESS_DENIED
    person.pins = [None]
    with pytest.raises(ClientFailureError) as cancelled:
        phone.scan(lab.laptop.dispatch(username=username, dispatcher="link").response)
    assert cancelled.value.error is ClientError.USER_CANCELLED


def test_a_card_without_a_display_confirms_no_transaction(lab: Lab, card: LabCard) -> None:
    phone, username = phone_with(lab, card, Person()), lab.new_user()
    phone.register(lab.server.enrol(username), server=lab.server.url)
    dispatched = lab.laptop.dispatch(username=username, dispatcher="link", transaction="Pay 5 CHF to Bob")
    with pytest.raises(ServerRefusedError):  # the server knows it by the metadata
        phone.confirm(dispatched.response)


def test_a_card_that_was_pulled_is_disconnected_and_signs_when_it_is_back(lab: Lab, card: LabCard) -> None:
    phone, username = phone_with(lab, card, Person()), lab.new_user()
    phone.register(lab.server.enrol(username), server=lab.server.url)
    card.pull()
    with pytest.raises(ClientFailureError) as gone:
        phone.scan(lab.laptop.dispatch(username=username, dispatcher="link").response)
    assert gone.value.asm_status is AsmStatus.AUTHENTICATOR_DISCONNECTED
    card.insert()
    assert phone.scan(lab.laptop.dispatch(username=username, dispatcher="link").response).status == 1200


def test_a_registration_cut_off_when_the_server_had_taken_it_keeps_the_cards_key(
    lab: Lab, card: LabCard, fidoloop_token: str, tmp_path: Path
) -> None:
    username = lab.new_user()
    profile = Profile(tmp_path / "phone.sqlite")
    profile.create(keys_uri="pkcs11:", verification="auto", ca=str(lab.server.ca))
    told = {
        "profile": str(profile.path),
        "token": fidoloop_token,
        "step": "sent",
        "operation": "registration",
        "text": lab.server.enrol(username),
        "verification": "auto",
        "reader": card.reader,
        "pin": SOFTHSM_PIN,
    }
    script = Path(__file__).with_name("killed_phone.py")
    done = subprocess.run([sys.executable, str(script), json.dumps(told)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    cards = UafCardUser(UafCard(card.reader), Person().ask, lambda _names: 0).authenticators()
    phone = lab.phone(profile=profile, verifier=AutoApprove(), cards=cards)
    ((_, outcome),) = phone.finish_left_over()
    assert isinstance(outcome, Result), outcome
    ((aaid, _),) = outcome.keys
    assert aaid == "F10B#0811"
    assert phone.scan(lab.laptop.dispatch(username=username, dispatcher="link").response).keys == outcome.keys
    profile.close()
