"""The authenticator as a contactless card: python-fido2's PC/SC client over a real pcscd, and the applet by itself."""

import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fido2 import cbor
from fido2.client import DefaultClientDataCollector, Fido2Client
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import Ctap1
from fido2.ctap2 import ClientPin, CredentialManagement, Ctap2  # type: ignore[attr-defined]  # the package's names
from fido2.hid import CTAPHID
from fido2.pcsc import AID_FIDO, CtapPcscDevice

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.core import rp_id_hash_of
from fidoloop.authenticator.ctap2.limits import MAX_MESSAGE
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.fido_applet import AID, FidoApplet
from fidoloop.authenticator.user_verification import InTheField, Prompt, VerificationRequest
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.sim.card import Card
from fidoloop.hsm.sim.factory import Factory
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd
from fidoloop.protocol.uaf.registry import UserVerification
from tests.authenticator.ctap2.lab import ERR, ES256, HASH, PERMISSION, PIN, RP, RP_ID, USER, credential_id, public_key
from tests.authenticator.ctap2.test_clients import Platform

EDDSA: list[Mapping[str, Any]] = [{"type": "public-key", "alg": -8}]
SELECT = bytes.fromhex("00a4040008") + AID
GET_INFO = bytes.fromhex("80108000010400")
MAKE = b"\x01" + cbor.encode({1: HASH, 2: RP, 3: USER, 4: ES256})


@pytest.fixture
def applet(store: KeyStore, tmp_path: Path) -> Iterator[FidoApplet]:
    state = Ctap2State(tmp_path / "fido.sqlite", store)
    authenticator = Authenticator(store, state, InTheField(), transports=("nfc",))
    yield FidoApplet(authenticator)
    authenticator.core.destroy_all_keys()
    state.close()


@pytest.fixture
def device(
    applet: FidoApplet, fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory
) -> Iterator[CtapPcscDevice]:
    """python-fido2's view of the card in the session's first reader."""
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, applet) as card:
        (found,) = CtapPcscDevice.list_devices(card.reader)
        yield found
        found.close(release=True)


def test_a_platform_registers_and_logs_in(device: CtapPcscDevice) -> None:
    client: Any = Fido2Client(device, DefaultClientDataCollector(f"https://{RP_ID}"), Platform())
    assert client.info.transports == ["nfc"]
    ClientPin(Ctap2(device)).set_pin(PIN)
    selection = {"residentKey": "required", "userVerification": "required"}
    options: dict[str, Any] = {"rp": RP, "user": USER, "challenge": b"c" * 32, "pubKeyCredParams": ES256}
    made = client.make_credential({**options, "authenticatorSelection": selection})
    found = client.get_assertion({"challenge": b"d" * 32, "rpId": RP_ID, "userVerification": "required"})
    (assertion,) = found.get_assertions()
    data = made.response.attestation_object.auth_data.credential_data
    assertion.verify(found.get_response(0).response.client_data.hash, data.public_key)
    assert assertion.auth_data.is_user_verified()


@pytest.mark.parametrize("extended", [False, True], ids=["chained", "extended length"])
@pytest.mark.parametrize("polling", [False, True], ids=["waiting", "polling"])
def test_long_messages_go_either_way(device: CtapPcscDevice, extended: bool, polling: bool) -> None:
    device.use_ext_apdu, device.use_nfcctap_getresponse = extended, polling
    ctap = Ctap2(device)
    exclude: list[Mapping[str, Any]] = [{"type": "public-key", "id": bytes((number,)) * 83} for number in range(16)]
    made = ctap.make_credential(HASH, RP, USER, ES256, exclude_list=exclude)
    assert len(cbor.encode(exclude)) > 1024
    ctap.get_assertion(RP_ID, HASH, [*exclude[1:], {"type": "public-key", "id": credential_id(made)}])


def test_u2f_apdus(device: CtapPcscDevice) -> None:
    u2f = Ctap1(device)
    assert u2f.get_version() == "U2F_V2"
    registered = u2f.register(HASH, HASH[::-1])
    registered.verify(HASH[::-1], HASH)
    u2f.authenticate(HASH, HASH[::-1], registered.key_handle).verify(HASH[::-1], HASH, registered.public_key)


def test_taking_the_card_out_is_a_power_cycle(device: CtapPcscDevice) -> None:
    ctap = Ctap2(device)
    pin = ClientPin(ctap)
    pin.set_pin(PIN)
    for status in (ERR.PIN_INVALID, ERR.PIN_INVALID, ERR.PIN_AUTH_BLOCKED):
        with pytest.raises(CtapError) as caught:
            pin.get_pin_token("0000")
        assert caught.value.code is status
    device.close()
    device.connect()
    token = ClientPin(Ctap2(device)).get_pin_token(PIN, PERMISSION.CREDENTIAL_MGMT)
    management = CredentialManagement(Ctap2(device), pin.protocol, token)
    assert management.get_metadata()[1] == 0
    ctap.reset()
    assert Ctap2(device).info.options["clientPin"] is False


def test_credentials_are_managed_over_the_reader(device: CtapPcscDevice) -> None:
    ctap = Ctap2(device)
    for user in (b"anna", b"bert"):
        ctap.make_credential(HASH, RP, {"id": user, "name": user.decode()}, ES256, options={"rk": True})
    assert len(ctap.get_assertions(RP_ID, HASH)) == 2
    ClientPin(ctap).set_pin(PIN)
    pin = ClientPin(Ctap2(device))
    token = pin.get_pin_token(PIN, PERMISSION.CREDENTIAL_MGMT)
    management = CredentialManagement(pin.ctap, pin.protocol, token)
    found = management.enumerate_creds(rp_id_hash_of(RP_ID))
    assert [entry[6]["id"] for entry in found] == [b"bert", b"anna"]
    management.delete_cred(found[0][7])
    assert management.get_metadata()[1] == 1


def test_the_card_is_a_piv_card_all_the_same(device: CtapPcscDevice) -> None:
    assert device.apdu_exchange(bytes.fromhex("00a4040005a000000308"))[1:] == (0x90, 0x00)
    assert device.apdu_exchange(GET_INFO)[1:] == (0x6E, 0x00)
    assert device.apdu_exchange(SELECT) == (b"U2F_V2", 0x90, 0x00)
    assert device.apdu_exchange(GET_INFO)[0][0] == 0
    with pytest.raises(CtapError, match="INVALID_COMMAND"):
        device.call(CTAPHID.PING, b"")


class Chooser:
    """A user who takes his time: what he is asked waits until the test lets it go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def confirm(self, _request: VerificationRequest) -> bool:
        self.asked.set()
        assert self.go_on.wait(30)
        return True


class Slow:
    """A card whose user takes his time, and its host."""

    def __init__(self, store: KeyStore, path: Path) -> None:
        self.user = Chooser()
        self.state = Ctap2State(path, store)
        self.authenticator = Authenticator(store, self.state, Prompt(self.user.confirm))
        self.card = Card([FidoApplet(self.authenticator, patience=0.01)], b"\x3b\x00")
        self.transmit(SELECT)

    def transmit(self, apdu: bytes) -> tuple[bytes, int]:
        answer = self.card.transmit(apdu)
        return answer[:-2], struct.unpack(">H", answer[-2:])[0]

    def message(self, message: bytes, p1: int = 0x80) -> tuple[bytes, int]:
        return self.transmit(struct.pack(">BBBBBH", 0x80, 0x10, p1, 0, 0, len(message)) + message + b"\0\0")

    def poll(self, p1: int = 0) -> tuple[bytes, int]:
        return self.transmit(bytes((0x80, 0x11, p1, 0, 0, 0, 0)))

    def finish(self) -> bytes:
        """Poll until the command is over and return its answer."""
        self.user.go_on.set()
        answer, word = self.poll()
        while word == 0x9100:
            answer, word = self.poll()
        assert word == 0x9000
        return answer


@pytest.fixture
def slow(store: KeyStore, tmp_path: Path) -> Iterator[Slow]:
    made = Slow(store, tmp_path / "slow.sqlite")
    yield made
    made.user.go_on.set()
    made.authenticator.power_cycle()  # waits for what is not over
    made.authenticator.core.destroy_all_keys()
    made.state.close()


def test_a_host_polls_while_the_user_is_asked(slow: Slow) -> None:
    answer, word = slow.message(MAKE)
    assert (word, slow.user.asked.wait(30)) == (0x9100, True)
    assert slow.poll() == (b"\x02", 0x9100)  # STATUS_UPNEEDED
    assert slow.poll() == (b"\x02", 0x9100)
    answer = slow.finish()
    assert answer[0] == 0
    assert cbor.decode(answer[1:])[1] == "packed"  # type: ignore[index]
    assert slow.poll()[1] == 0x6985


@pytest.fixture
def slow_device(
    slow: Slow, fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory
) -> Iterator[tuple[Slow, CtapPcscDevice]]:
    """A card in the session's first reader whose user takes his time."""
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, FidoApplet(slow.authenticator, patience=0.01)) as card:
        (device,) = CtapPcscDevice.list_devices(card.reader)
        yield slow, device
        device.close(release=True)


def test_a_platform_polls_over_the_reader(slow_device: tuple[Slow, CtapPcscDevice]) -> None:
    slow, device = slow_device
    told = []

    def on_keepalive(status: int) -> None:
        told.append(status)
        if status == STATUS.UPNEEDED:
            slow.user.go_on.set()

    made = Ctap2(device).make_credential(HASH, RP, USER, ES256, on_keepalive=on_keepalive)
    assert told[-1] == STATUS.UPNEEDED
    slow.user.go_on.clear()
    called_off = threading.Event()

    def call_off(status: int) -> None:
        if status == STATUS.UPNEEDED:
            called_off.set()

    allow: list[Mapping[str, Any]] = [{"type": "public-key", "id": credential_id(made)}]
    with pytest.raises(CtapError) as caught:
        Ctap2(device).get_assertion(RP_ID, HASH, allow, event=called_off, on_keepalive=call_off)
    assert caught.value.code is ERR.KEEPALIVE_CANCEL
    slow.user.go_on.set()
    slow.authenticator.power_cycle()  # waits for what was called off
    Ctap2(device).get_assertion(RP_ID, HASH, allow).verify(HASH, public_key(made))


def test_a_host_calls_a_command_off(slow: Slow) -> None:
    assert slow.message(MAKE)[1] == 0x9100
    assert slow.user.asked.wait(30)
    assert slow.poll(p1=0x11) == (bytes((ERR.KEEPALIVE_CANCEL,)), 0x9000)
    assert slow.poll()[1] == 0x6985
    assert slow.message(b"\x04") == (bytes((ERR.CHANNEL_BUSY,)), 0x9000)
    assert slow.transmit(bytes.fromhex("00030000000000"))[1] == 0x6985
    slow.user.go_on.set()
    slow.authenticator.power_cycle()
    assert not [info for info in slow.authenticator.core.store.list() if info.key_id.startswith(b"ctap2:")]
    assert slow.message(b"\x04")[0][0] == 0


@pytest.mark.parametrize("how", ["reset", "another applet", "end"])
def test_a_command_does_not_outlast_its_session(slow: Slow, how: str) -> None:
    assert slow.message(MAKE)[1] == 0x9100
    assert slow.user.asked.wait(30)
    if how == "reset":
        slow.card.reset()
    elif how == "end":
        assert slow.transmit(bytes.fromhex("80120100")) == (b"", 0x9000)
    else:
        slow.card._selected.reset()
    assert slow.poll()[1] == 0x6985
    slow.user.go_on.set()
    slow.authenticator.power_cycle()
    assert not slow.authenticator.core.state.residents()
    assert slow.message(b"\x04")[0][0] == 0


def test_power_taken_from_an_unfinished_command_is_taken_from_what_it_knew(slow: Slow) -> None:
    slow.authenticator.core.wrong_pins_in_a_row = 3
    slow.message(MAKE)
    assert slow.user.asked.wait(30)
    slow.card.reset()
    assert slow.authenticator.core.wrong_pins_in_a_row == 3
    slow.user.go_on.set()
    with slow.authenticator.interaction():  # once it is over
        pass
    assert slow.message(b"\x04")[0][0] == 0
    assert slow.authenticator.core.wrong_pins_in_a_row == 0


def test_a_host_that_does_not_poll_waits(slow: Slow) -> None:
    slow.user.go_on.set()
    answer, word = slow.message(MAKE, p1=0)
    assert (answer[0], word) == (0, 0x9000) or word >> 8 == 0x61


@pytest.mark.parametrize(
    ("apdu", "word"),
    [
        ("8010010001 04", 0x6A86),
        ("8010800101 04", 0x6A86),
        ("8011000000", 0x6985),
        ("8011010000", 0x6A86),
        ("8011000100", 0x6A86),
        ("8012000000", 0x6A86),
        ("8013000000", 0x6D00),
        ("8010800000", 0x9000),
        ("00a4040008" + "a0000006472f0002", 0x6A82),
        ("00a404000c" + AID.hex() + "31323334", 0x6A82),
        ("0000040008" + AID.hex(), 0x6D00),
        ("8110800001 04", 0x6881),
    ],
)
def test_apdus_that_are_wrong(slow: Slow, apdu: str, word: int) -> None:
    answer = slow.transmit(bytes.fromhex(apdu))
    assert answer[1] == word
    assert answer[0] in (b"", bytes((ERR.INVALID_LENGTH,)))


def test_under_always_uv_there_is_no_u2f(slow: Slow) -> None:
    slow.authenticator.core.state.update(always_uv=True)
    assert slow.transmit(SELECT) == (b"FIDO_2_0", 0x9000)
    assert slow.transmit(bytes.fromhex("0001000040") + bytes(64))[1] == 0x6986


def test_a_card_whose_file_was_changed_says_so(slow: Slow) -> None:
    with slow.state.writing() as database:
        database.execute("UPDATE ctap2_row SET mac = NULL")
    slow.state._settings = None
    assert slow.transmit(SELECT) == (b"U2F_V2", 0x9000)
    assert slow.message(b"\x04") == (bytes((ERR.INTEGRITY_FAILURE,)), 0x9000)
    assert slow.transmit(bytes.fromhex("0001000040") + bytes(64))[1] == 0x6F00


def test_a_message_longer_than_claimed_is_too_large(slow: Slow) -> None:
    assert slow.message(b"\x01" + bytes(MAX_MESSAGE)) == (bytes((ERR.REQUEST_TOO_LARGE,)), 0x9000)


def test_the_aid_is_what_hosts_select() -> None:
    assert AID == AID_FIDO
    assert InTheField().verify(VerificationRequest("test", "")) is UserVerification.PRESENCE


def test_public_keys_are_those_attested(device: CtapPcscDevice) -> None:
    ctap = Ctap2(device)
    made = ctap.make_credential(HASH, RP, USER, EDDSA)
    ctap.get_assertion(RP_ID, HASH, [{"type": "public-key", "id": credential_id(made)}]).verify(HASH, public_key(made))
