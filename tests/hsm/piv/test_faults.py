"""Cards that are pulled, hang, or are not the same any more; a PC/SC service that is restarted or not there."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from fidoloop.hsm.errors import DeviceTimeout, KeyStoreError, ModuleError, TokenAbsent, TokenAmbiguous
from fidoloop.hsm.keystore import EcHardwareKey, KeyAlgorithm, KeyUsage
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.piv import card as card_module
from fidoloop.hsm.piv import connection, pcsc
from fidoloop.hsm.piv.discovery import find_cards
from fidoloop.hsm.piv.store import PivKeyStore
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.readers import wait_for_card
from fidoloop.hsm.sim.vpcd import Fault, InsertedCard
from fidoloop.lab_card import PIN

from .conftest import NOW, Desk, insert
from .quirky_card import AUTHENTICATE, GENERATE, PUT_DATA, VERIFY, QuirkyCard

DIGEST = bytes(32)


def make(store: PivKeyStore, key_id: bytes = b"id") -> EcHardwareKey:
    key = store.generate(KeyAlgorithm.P256, KeyUsage.SIGN, key_id=key_id, label="")
    assert isinstance(key, EcHardwareKey)
    return key


def put_back(desk: Desk) -> None:
    desk.inserted.pull()
    wait_for_card(desk.pcscd.readers[0], present=False)
    insert(desk.inserted)
    wait_for_card(desk.pcscd.readers[0], present=True)


@pytest.fixture
def key(store: PivKeyStore) -> EcHardwareKey:
    return make(store)


@pytest.mark.parametrize("fault", [Fault.PULLED_BEFORE, Fault.PULLED_AFTER])
def test_a_card_pulled_in_mid_signature_is_absent_and_goes_on_when_it_is_back(
    desk: Desk, store: PivKeyStore, key: EcHardwareKey, fault: Fault
) -> None:
    desk.inserted.arm(fault, ins=AUTHENTICATE)
    with pytest.raises(TokenAbsent):
        key.sign_digest_raw(DIGEST)
    wait_for_card(desk.pcscd.readers[0], present=False)
    with pytest.raises(TokenAbsent, match="no card"):
        key.sign_digest_raw(DIGEST)
    with pytest.raises(TokenAbsent):
        store.list()
    put_back(desk)
    assert len(key.sign_digest_raw(DIGEST)) == 64


def test_a_card_put_back_between_two_operations_is_logged_in_again(desk: Desk, key: EcHardwareKey) -> None:
    sent = len(desk.card.pins_sent())
    put_back(desk)
    assert len(key.sign_digest_raw(DIGEST)) == 64
    assert len(desk.card.pins_sent()) == sent + 1


def test_a_card_that_lost_its_state_unseen_is_logged_in_again(desk: Desk, key: EcHardwareKey) -> None:
    desk.card.reset()  # as one pulled and put back faster than pcscd looks
    assert len(key.sign_digest_raw(DIGEST)) == 64
    assert desk.card.state.pin.left == 3


@pytest.mark.parametrize("instruction", [GENERATE, PUT_DATA])
def test_a_generation_that_breaks_off_leaves_what_can_be_seen_and_removed(
    desk: Desk, store: PivKeyStore, instruction: int
) -> None:
    desk.inserted.arm(Fault.PULLED_AFTER, ins=instruction)
    with pytest.raises(TokenAbsent):
        make(store)
    put_back(desk)
    assert desk.card.sent(GENERATE) == desk.card.sent(GENERATE)[:1]  # nothing was done twice
    for info in store.list():
        store.delete(info.key_id)
    assert make(store).info.place == "82"


def test_another_card_in_the_reader_is_not_sent_the_pin(
    desk: Desk, fidoloop_card_factory: Factory, key: EcHardwareKey
) -> None:
    desk.card.renew(fidoloop_card_factory.personalise(now=NOW))
    with pytest.raises(TokenAbsent, match="another card"):
        key.sign_digest_raw(DIGEST)
    put_back(desk)
    with pytest.raises(TokenAbsent, match="another card"):
        key.sign_digest_raw(DIGEST)
    assert not desk.card.pins_sent()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits a test can wait for, and no refusing afterwards."""
    monkeypatch.setattr(card_module, "COMMAND_LIMIT", 0.2)
    monkeypatch.setattr(pcsc, "WAIT_LIMIT", 0.2)
    monkeypatch.setattr(connection, "REFUSE_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("instruction", [VERIFY, AUTHENTICATE])
def test_a_card_that_never_answers_ends_in_a_timeout(desk: Desk, key: EcHardwareKey, instruction: int) -> None:
    key.sign_digest_raw(DIGEST)
    desk.card.reset()
    desk.inserted.arm(Fault.SILENT, ins=instruction)
    with pytest.raises(DeviceTimeout):
        key.sign_digest_raw(DIGEST)
    with pytest.raises(DeviceTimeout):  # pcscd is still waiting for it
        key.sign_digest_raw(DIGEST)
    put_back(desk)
    assert len(key.sign_digest_raw(DIGEST)) == 64


def test_after_a_timeout_others_do_not_wait_as_long_again(
    desk: Desk, key: EcHardwareKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card_module, "COMMAND_LIMIT", 0.2)
    desk.card.reset()
    key.sign_digest_raw(DIGEST)
    desk.inserted.arm(Fault.SILENT, ins=AUTHENTICATE)
    with pytest.raises(DeviceTimeout, match="did not answer"):
        key.sign_digest_raw(DIGEST)
    for _ in range(256):
        with pytest.raises(DeviceTimeout, match="pull it out"):
            key.sign_digest_raw(DIGEST)
    put_back(desk)


def test_a_slow_card_is_waited_for(desk: Desk, key: EcHardwareKey) -> None:
    desk.inserted.arm(Fault.SLOW, ins=AUTHENTICATE, seconds=0.3)
    assert len(key.sign_digest_raw(DIGEST)) == 64


@pytest.fixture
def restarted(desk: Desk) -> Iterator[Desk]:
    yield desk
    if desk.inserted.wait_pulled(0):
        desk.inserted.pull()


@pytest.mark.parametrize("kill", [False, True])
def test_a_restarted_pcscd_is_found_again(restarted: Desk, key: EcHardwareKey, kill: bool) -> None:
    desk = restarted
    desk.pcscd.stop(kill=kill)
    with pytest.raises(TokenAbsent, match="and started"):
        key.sign_digest_raw(DIGEST)
    with pytest.raises(TokenAbsent, match="and started"):
        open_key_store("piv:", pin=PIN)
    desk.inserted.pull()
    desk.pcscd.start()
    with pytest.raises(TokenAbsent, match="no card"):
        key.sign_digest_raw(DIGEST)
    desk.inserted.insert()
    assert len(key.sign_digest_raw(DIGEST)) == 64


# --- which card ---------------------------------------------------------------------------------------------------


def test_cards_are_found_and_named(desk: Desk, fidoloop_card_factory: Factory) -> None:
    first, second = find_cards()
    assert (first.reader, first.problem) == (desk.reader, "")
    assert first.identity is not None
    assert first.identity.serial == str(desk.card.state.serial)
    assert (second.identity, second.problem) == (None, "no card is in the reader (any more)")
    with open_key_store(first.uri, pin=PIN) as store:
        assert store.info().serial == first.identity.serial
    other = QuirkyCard(fidoloop_card_factory.personalise(now=NOW))
    with InsertedCard(other, port=desk.pcscd.port + 1):
        wait_for_card(desk.pcscd.readers[1], present=True)
        assert [found.identity is not None for found in find_cards()] == [True, True]
        with pytest.raises(TokenAmbiguous, match=f"serial={other.state.serial}"):
            open_key_store("piv:reader=Virtual", pin=PIN)
        for uri in (f"piv:serial={other.state.serial}", "piv:reader=00%2001"):
            with open_key_store(uri, pin=PIN) as store:
                assert store.info().serial == str(other.state.serial)
        with pytest.raises(TokenAbsent, match="no PIV card"):
            open_key_store("piv:serial=1", pin=PIN)
    wait_for_card(desk.pcscd.readers[1], present=False)


def test_readers_and_cards_that_are_not_there(desk: Desk) -> None:
    with pytest.raises(TokenAbsent, match="there are: 'Virtual PCD 00 00'"):
        open_key_store("piv:reader=Yubico", pin=PIN)
    with pytest.raises(TokenAbsent, match=f"has serial '{desk.card.state.serial}', not '1'"):
        open_key_store("piv:reader=00%2000;serial=1", pin=PIN)
    with pytest.raises(TokenAbsent, match="no card"):
        open_key_store("piv:reader=00%2001", pin=PIN)
    assert not desk.card.pins_sent()


def test_a_card_without_piv_is_told(desk: Desk) -> None:
    desk.card.answers[0xA4] = lambda _command, _do: b"\x6a\x82"
    with pytest.raises(TokenAbsent, match="no PIV card"):
        desk.open()


@pytest.mark.parametrize(
    ("missing", "problem"),
    [("ctypes.CDLL = missing", "libpcsclite.so.1 is missing"), ("sys.modules['smartcard.scard'] = None", "pyscard")],
)
def test_what_is_not_installed_is_named(missing: str, problem: str) -> None:
    script = f"""
import ctypes, sys
def missing(name): raise OSError(name)
{missing}
from fidoloop.hsm.errors import ModuleError
from fidoloop.hsm.open import open_key_store
try:
    open_key_store("piv:", pin="123456")
except ModuleError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert problem in done.stdout


def test_pyscard_is_imported_by_those_who_use_it_only() -> None:
    script = """
import sys
import fidoloop.cli.keys, fidoloop.cli.phone, fidoloop.cli.demo, fidoloop.hsm.piv.store
assert not [name for name in sys.modules if name.startswith("smartcard")]
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_errors_are_of_one_family() -> None:
    for error in (DeviceTimeout, ModuleError, TokenAbsent):
        assert issubclass(error, KeyStoreError)
