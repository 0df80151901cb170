"""What is dispatched is not lost: a phone killed at any step finishes at its next start, or says why it cannot."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from fidoloop.authenticator.user_verification import AutoApprove, UserVerifier, VerificationRequest
from fidoloop.bridge.errors import BridgeError, NetworkError, TokenRedeemedError, UnknownHostError
from fidoloop.bridge.laptop import Dispatched
from fidoloop.bridge.phone import Phone, Result
from fidoloop.bridge.profile import Profile
from fidoloop.hsm.uri import parse_uri
from fidoloop.protocol import outofband
from fidoloop.protocol.uaf.registry import UserVerification
from tests.lab import Lab

SCRIPT = Path(__file__).with_name("killed_phone.py")
BEFORE_CONSENT = ("received", "decrypted", "confirming")
UNSIGNED = ("redeemed", "requested")
SIGNED = ("signed", "sent", "answered")


class Counting(AutoApprove):
    """Approves, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def verify(self, request: VerificationRequest) -> UserVerification:
        self.asked += 1
        return super().verify(request)


@dataclass
class Killed:
    """A phone whose process was killed, to be started again."""

    lab: Lab
    profile: Path
    token: str
    username: str

    def kill_at(self, step: str, operation: str, text: str) -> None:
        told = {
            "profile": str(self.profile),
            "token": self.token,
            "step": step,
            "operation": operation,
            "text": text,
            "verification": "auto",
        }
        done = subprocess.run(
            [sys.executable, str(SCRIPT), json.dumps(told)], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr

    def start(self, verifier: UserVerifier | None = None) -> Phone:
        profile = Profile(self.profile)
        self.lab.opened.callback(profile.close)
        phone = Phone(profile, self.lab.store, verifier or AutoApprove(), confirm=lambda _: True)
        self.lab.opened.callback(phone.close)
        return phone

    def dispatched(self, operation: str = "authentication") -> Dispatched:
        (target,) = self.lab.laptop.targets(self.username)
        if operation == "deregistration":
            return self.lab.laptop.dispatch(
                operation="Dereg",
                username=self.username,
                target_id=target.id,
                dispatcher="link",
                context={"mode": "username"},
            )
        return self.lab.laptop.dispatch(username=self.username, target_id=target.id, dispatcher="link")

    @property
    def left(self) -> int:
        directory = self.profile.with_suffix(".operations")
        return len(list(directory.iterdir())) if directory.exists() else 0


@pytest.fixture
def killed(fidoloop_lab: Lab, fidoloop_token: str, tmp_path: Path) -> Killed:
    path = tmp_path / "phone.sqlite"
    profile = Profile(path)
    uri = parse_uri("pkcs11:").without_pin()
    profile.create(keys_uri=uri, verification="auto", ca=str(fidoloop_lab.server.ca))
    profile.close()
    return Killed(fidoloop_lab, path, fidoloop_token, fidoloop_lab.new_user())


def enrol(killed: Killed) -> None:
    phone = killed.start()
    phone.register(killed.lab.server.enrol(killed.username), target_name="phone")


@pytest.mark.parametrize("step", [*BEFORE_CONSENT, *UNSIGNED, *SIGNED])
def test_a_login_goes_on_where_it_was_cut_off_and_is_signed_once(killed: Killed, step: str) -> None:
    enrol(killed)
    sent = killed.dispatched()
    killed.kill_at(step, "authentication", sent.response)
    user = Counting()
    phone = killed.start(user)
    finished = [each.outcome for each in phone.finish_left_over()]
    if step in BEFORE_CONSENT:
        # Nobody had agreed to anything: the server still has it.
        assert (finished, killed.left) == ([], 0)
        ((_, waiting),) = phone.waiting()
        assert isinstance(waiting, outofband.PendingOperations)
        (operation,) = waiting.operations
        finished = [phone.take(operation.payload)]
    (result,) = finished
    assert isinstance(result, Result), result
    assert (result.operation, result.username, result.status) == ("authentication", killed.username, 1200)
    assert user.asked == (0 if step in SIGNED else 1), "what was signed is sent as it was"
    final = killed.lab.laptop.status(sent.session_id)
    assert (final.status, final.userId) == ("succeeded", killed.username)
    assert [(entry.aaid, entry.keyId) for entry in final.authenticators or ()] == list(result.keys)
    assert killed.left == 0
    assert phone.finish_left_over() == []
    assert phone.scan(killed.dispatched().response).status == 1200, "the counter is as it must be"


def test_a_redemption_whose_answer_was_lost_is_said_to_be_lost(killed: Killed) -> None:
    enrol(killed)
    killed.kill_at("redeeming", "authentication", killed.dispatched().response)
    phone = killed.start()
    ((token, outcome),) = phone.finish_left_over()
    assert token is not None
    assert isinstance(outcome, TokenRedeemedError)
    assert "ask for a new one" in str(outcome)
    assert killed.left == 0


def test_scanning_the_same_code_again_finishes_what_it_began(killed: Killed) -> None:
    enrol(killed)
    sent = killed.dispatched()
    killed.kill_at("signed", "authentication", sent.response)
    result = killed.start().scan(sent.response)
    assert (result.status, killed.left) == (1200, 0)
    assert killed.lab.laptop.status(sent.session_id).status == "succeeded"


def test_another_login_finishes_the_one_before(killed: Killed) -> None:
    enrol(killed)
    first = killed.dispatched()
    killed.kill_at("redeemed", "authentication", first.response)
    second = killed.dispatched()
    killed.start().scan(second.response)
    states = [killed.lab.laptop.status(sent.session_id).status for sent in (first, second)]
    assert states == ["succeeded", "succeeded"]


def test_what_is_withdrawn_meanwhile_is_said_to_be_over(killed: Killed) -> None:
    enrol(killed)
    killed.kill_at("redeemed", "authentication", killed.dispatched().response)
    # With its target, what is open for it ends at the server.
    phone = killed.start(user := Counting())
    phone.targets.delete(phone.accounts()[0])
    ((_, outcome),) = phone.finish_left_over()
    assert isinstance(outcome, BridgeError)
    assert user.asked == 0
    assert killed.left == 0


def test_a_server_that_this_phone_has_left_meanwhile_is_not_asked(killed: Killed) -> None:
    enrol(killed)
    link = killed.lab.laptop.dispatch(username=killed.username, dispatcher="link")
    killed.kill_at("redeemed", "authentication", link.response)
    profile = Profile(killed.profile)
    profile.remove_account(profile.accounts()[0])
    profile.close()
    ((_, outcome),) = killed.start().finish_left_over()
    assert isinstance(outcome, UnknownHostError)
    assert (killed.left, killed.lab.laptop.status(link.session_id).status) == (0, "clientAuthenticating")


def test_without_a_network_it_stays_for_the_next_start(killed: Killed) -> None:
    enrol(killed)
    sent = killed.dispatched()
    killed.kill_at("signed", "authentication", sent.response)
    phone = killed.start()
    phone._settings = msgspec.structs.replace(phone._settings, ca=None)
    ((_, outcome),) = phone.finish_left_over()
    assert isinstance(outcome, NetworkError), "its server's certificate is not trusted"
    assert killed.left == 1
    ((_, outcome),) = killed.start().finish_left_over()
    assert isinstance(outcome, Result)
    assert killed.lab.laptop.status(sent.session_id).status == "succeeded"


@pytest.mark.parametrize("step", ["received", "redeeming", "redeemed", "answered"])
def test_a_deregistration_is_carried_out_on_both_sides(killed: Killed, step: str) -> None:
    enrol(killed)
    sent = killed.dispatched("deregistration")
    killed.kill_at(step, "deregistration", sent.response)
    phone = killed.start()
    outcomes = [each.outcome for each in phone.finish_left_over()]
    if step == "received":
        ((_, waiting),) = phone.waiting()
        assert isinstance(waiting, outofband.PendingOperations)
        outcomes = [phone.take(waiting.operations[0].payload)]
    (outcome,) = outcomes
    if step == "redeeming":
        assert isinstance(outcome, TokenRedeemedError)
        assert "phone deregister --user" in str(outcome)
        phone.remove(phone.accounts()[0])
    else:
        assert isinstance(outcome, Result)
    assert phone.asm.registrations() == []
    assert killed.left == 0


@pytest.mark.parametrize("step", ["received", "redeeming", "redeemed", "signed", "sent", "answered"])
def test_a_registration_goes_on_or_leaves_nothing_behind(killed: Killed, step: str) -> None:
    before = {info.key_id for info in killed.lab.store.list()}
    text = killed.lab.server.enrol(killed.username)
    killed.kill_at(step, "registration", text)
    phone = killed.start()
    outcomes = [each.outcome for each in phone.finish_left_over()]
    if step == "received":
        assert outcomes == []
        outcomes = [phone.register(text)]
    (outcome,) = outcomes
    if step == "redeeming":
        assert isinstance(outcome, TokenRedeemedError)
        assert phone.register(killed.lab.server.enrol(killed.username)).status == 1200
    else:
        assert isinstance(outcome, Result), outcome
        assert outcome.status == 1200
    (account,) = phone.accounts()
    (registration,) = phone.asm.registrations()
    made = {info.key_id for info in killed.lab.store.list()} - before
    target_keys = {account.signature_key_id, account.encryption_key_id} - {None}
    assert made == {registration.key_id, *target_keys}, "no key is left that nobody uses"
    if step == "sent":
        # The server's answer, which names the dispatch target, is lost.
        assert "no dispatch target" in outcome.message if isinstance(outcome, Result) else False
        assert account.target_id is None
    else:
        assert [entry.id for entry in killed.lab.laptop.targets(killed.username)] == [account.target_id]
    link = killed.lab.laptop.dispatch(username=killed.username, dispatcher="link").response
    assert phone.scan(link).status == 1200
    assert killed.left == 0
