"""The UAF applet in a card: over a real pcscd, and by itself where only its own answers matter."""

import datetime
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smartcard.CardConnection import CardConnection
from smartcard.System import readers

from fidoloop.authenticator.commands.registry import Command, CommandTag
from fidoloop.authenticator.commands.status_words import STATUS_WORDS, status_of_word
from fidoloop.authenticator.commands.user_verify_tokens import UserVerifyTokens
from fidoloop.authenticator.errors import CommandStatus
from fidoloop.authenticator.models import card_models, card_statements
from fidoloop.authenticator.pin_tries import MAX_TRIES
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.uaf_applet import UafApplet
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.sim.card import Card
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.uaf_card import AID
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd
from fidoloop.protocol import strictjson
from fidoloop.protocol.uaf.assertions import parse_authentication_assertion, parse_registration_assertion
from fidoloop.protocol.uaf.attestation import verify_attestation
from fidoloop.protocol.uaf.metadata import parse_metadata
from fidoloop.protocol.uaf.public_keys import load_public_key
from fidoloop.protocol.uaf.registry import AttestationType, Tag
from fidoloop.protocol.uaf.signatures import verify_signature
from fidoloop.protocol.uaf.tlv import Element, element, parse, sequence
from tests.lab import SOFTHSM_PIN

SELECT = bytes.fromhex("00a4040c08") + AID
PIN = SOFTHSM_PIN.encode()
APP_ID = b"https://rp.example/facets"
HASH = bytes(range(32))
INDEX = (CommandTag.AUTHENTICATOR_INDEX, b"\0")
REGISTER = (
    INDEX,
    (CommandTag.APPID, APP_ID),
    (Tag.FINAL_CHALLENGE_HASH, HASH),
    (CommandTag.USERNAME, b"jeff"),
    (CommandTag.ATTESTATION_TYPE, struct.pack("<H", AttestationType.BASIC_FULL)),
    (CommandTag.KEYHANDLE_ACCESS_TOKEN, bytes(32)),
)
SIGN = (
    INDEX,
    (CommandTag.APPID, APP_ID),
    (Tag.FINAL_CHALLENGE_HASH, HASH),
    (CommandTag.KEYHANDLE_ACCESS_TOKEN, bytes(32)),
)

Transmit = Callable[[bytes], bytes]


class Host:
    """A host of the card, by whatever carries APDUs to it."""

    def __init__(self, transmit: Transmit) -> None:
        self.transmit = transmit
        self.parts = 0

    def select(self) -> None:
        assert self.transmit(SELECT) == b"\x90\x00"

    def verify(self, pin: bytes = PIN, *, cla: int = 0, ins: int = 0x20) -> bytes:
        return self.transmit(bytes([cla, ins, 0, 0, len(pin)]) + pin)

    def uaf(self, command: bytes) -> tuple[int, bytes]:
        """Send a UAF command, chained where it is long, and read the whole answer either way."""
        while len(command) > 255:
            part, command = command[:255], command[255:]
            assert self.transmit(bytes([0x90, 0x36, 0, 0, 255]) + part) == b"\x90\x00"
        answer = self.transmit(bytes([0x80, 0x36, 0, 0, len(command)]) + command + b"\0")
        data, word = answer[:-2], int.from_bytes(answer[-2:], "big")
        while word >> 8 == 0x61:
            self.parts += 1
            answer = self.transmit(bytes([0, 0xC0, 0, 0, word & 0xFF]))
            data, word = data + answer[:-2], int.from_bytes(answer[-2:], "big")
        if data[:2] == b"\x13\x28":
            total, data = int.from_bytes(data[4:6], "little"), b""
            while len(data) < total:
                self.parts += 1
                answer = self.transmit(bytes([0x80, 0x36, 0, 1, 0]))
                assert answer[-2:] == b"\x90\x00"
                data += answer[:-2]
        return word, data

    def ask(self, command: int, *elements: tuple[int, bytes]) -> list[Element]:
        word, data = self.uaf(element(command, sequence(*elements)))
        assert word == 0x9000
        (outer,) = parse(data)
        assert outer.tag == command + 0x200
        assert not isinstance(outer.value, bytes)
        assert outer.value[0].value == b"\0\0"
        return list(outer.value[1:])

    def word(self, command: int, *elements: tuple[int, bytes]) -> int:
        word, data = self.uaf(element(command, sequence(*elements)))
        assert word == 0x9000 or data == b""
        return word


@pytest.fixture
def applet(store: KeyStore, state: AuthenticatorState) -> UafApplet:
    return UafApplet(store, state)


@pytest.fixture
def host(applet: UafApplet) -> Host:
    return Host(Card([applet], b"\x3b\x00").transmit)


@pytest.fixture
def card(fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, applet: UafApplet) -> Iterator[LabCard]:
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, applet) as card:
        yield card


@pytest.fixture
def connection(card: LabCard) -> Iterator[CardConnection]:
    (reader,) = [one for one in readers() if str(one) == card.reader]
    opened = reader.createConnection()
    opened.connect()
    yield opened
    opened.release()


def through_reader(connection: CardConnection) -> Transmit:
    def transmit(apdu: bytes) -> bytes:
        data, sw1, sw2 = connection.transmit(list(apdu))
        return bytes([*data, sw1, sw2])

    return transmit


def test_a_card_in_a_real_reader_registers_and_signs_what_the_server_verifies(
    connection: CardConnection, store: KeyStore
) -> None:
    host = Host(through_reader(connection))
    host.select()
    infos = host.ask(Command.GET_INFO)
    assert len(infos) == 1 + len(card_models(store.info()))  # the API's version and every model
    assert host.word(Command.REGISTER, *REGISTER) == 0x6982
    assert host.verify() == b"\x90\x00"
    (raw,) = host.ask(Command.REGISTER, *REGISTER)
    assert isinstance(raw.value, bytes)
    assert host.parts  # an attestation certificate does not fit one answer
    registered = parse_registration_assertion(raw.value)
    entries = {entry.aaid: entry for entry in card_statements(store)}
    entry = parse_metadata(strictjson.encode(entries[registered.aaid]).encode())
    verify_attestation(registered, roots=entry.roots, at=datetime.datetime.now(datetime.UTC))
    assert registered.aaid == "F10B#0811"
    assert host.word(Command.SIGN, *SIGN) == 0x6982  # the PIN was for the registration
    assert host.verify() == b"\x90\x00"
    (raw,) = host.ask(Command.SIGN, *SIGN)
    assert isinstance(raw.value, bytes)
    signed = parse_authentication_assertion(raw.value)
    key = load_public_key(registered.signature_algorithm, registered.public_key_format, registered.public_key)
    verify_signature(key, registered.signature_algorithm, signed.signature, signed.signed_data)
    assert (signed.key_id, signed.final_challenge_hash) == (registered.key_id, HASH)


def test_a_long_command_comes_in_a_chain(connection: CardConnection) -> None:
    host = Host(through_reader(connection))
    host.select()
    long = [(tag, b"https://rp.example/" + b"a" * 400 if tag == CommandTag.APPID else value) for tag, value in REGISTER]
    assert host.verify() == b"\x90\x00"
    host.ask(Command.REGISTER, *long)


def test_the_card_is_a_piv_card_still(card: LabCard, connection: CardConnection) -> None:
    transmit = through_reader(connection)
    assert transmit(bytes.fromhex("00a4040005a00000030800"))[0] == 0x61  # its application property template
    assert transmit(bytes.fromhex("80360000") + b"\4\1\x34\0\0") == b"\x6e\x00"
    Host(transmit).select()


def test_a_pin_lasts_for_one_operation_until_reset_or_another_selection(host: Host, applet: UafApplet) -> None:
    host.verify()
    assert host.transmit(bytes.fromhex("00200000")) == b"\x90\x00"
    host.select()  # the same applet: nothing is lost
    assert host.transmit(bytes.fromhex("00200000")) == b"\x90\x00"
    applet.reset()
    assert host.transmit(bytes.fromhex("00200000")) == bytes([0x63, 0xC0 | MAX_TRIES])
    assert host.word(Command.REGISTER, *REGISTER) == 0x6982


def test_verify_in_the_proprietary_class_returns_a_user_verify_token(host: Host) -> None:
    answer = host.verify(cla=0x80)
    (token,) = parse(answer[:-2])
    assert (token.tag, answer[-2:]) == (CommandTag.USERVERIFY_TOKEN, b"\x90\x00")
    assert host.word(Command.REGISTER, *REGISTER) == 0x6982  # whoever has no token was not verified
    assert isinstance(token.value, bytes)
    given = (*REGISTER, (CommandTag.USERVERIFY_TOKEN, token.value))
    assert host.word(Command.REGISTER, *given) == 0x9000
    assert host.word(Command.REGISTER, *given) == 0x6982


def test_wrong_pins_are_counted_whatever_the_token_does_and_the_last_blocks(
    host: Host, store: KeyStore, state: AuthenticatorState
) -> None:
    assert host.verify(b"000000") == bytes([0x63, 0xC0 | (MAX_TRIES - 1)])
    assert host.verify(b"\xff\xff") == bytes([0x63, 0xC0 | (MAX_TRIES - 2)])
    assert host.verify() == b"\x90\x00"
    for remaining in range(MAX_TRIES - 1, 0, -1):
        assert host.verify(b"000000") == bytes([0x63, 0xC0 | remaining])
    assert host.verify(b"000000") == b"\x69\x83"
    assert host.verify() == b"\x69\x83"
    another = Host(Card([UafApplet(store, state)], b"\x3b\x00").transmit)
    assert another.verify() == b"\x69\x83"
    assert another.transmit(bytes.fromhex("00200000")) == b"\x69\x83"
    assert another.word(Command.REGISTER, *REGISTER) == 0x6982


def test_a_wrong_pin_undoes_the_right_one_before(host: Host) -> None:
    host.verify()
    host.verify(b"000000")
    assert host.word(Command.REGISTER, *REGISTER) == 0x6982


def test_a_count_of_tries_changed_from_outside_verifies_nobody(host: Host, state: AuthenticatorState) -> None:
    host.verify(b"000000")
    with state.writing() as database:
        database.execute("UPDATE pin_tries SET remaining = 8")
    assert host.verify() == b"\x6f\x00"


@pytest.mark.parametrize(
    ("apdu", "word"),
    [
        ("002100000431323334", 0x6A81),
        ("002001000431323334", 0x6A86),
        ("002000800431323334", 0x6A86),
        ("0020000041" + "31" * 65, 0x6700),
        ("8036010004 01340000", 0x6A86),
        ("8036000204 01340000", 0x6A86),
        ("8036000100", 0x6A86),  # nothing is left to read
        ("0036000004 01340000", 0x6D00),
        ("80ca000000", 0x6D00),
        ("8036000004 05340000", 0x6400),
        ("8036000004 02340000", 0x6A80),
        ("80360000", 0x6A80),
        ("8036000003 013400", 0x6A80),
    ],
)
def test_what_the_binding_does_not_know(host: Host, apdu: str, word: int) -> None:
    assert host.transmit(bytes.fromhex(apdu)) == word.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("elements", "word"),
    [
        (SIGN, 0x6983),  # no key of this application: disappeared
        ((*SIGN[:3], (CommandTag.TRANSACTION_CONTENT, b"Pay"), SIGN[3]), 0x6983),
        (SIGN[1:], 0x6A80),
    ],
)
def test_a_refused_command_is_its_status_word(host: Host, elements: tuple[tuple[int, bytes], ...], word: int) -> None:
    host.verify()
    assert host.word(Command.SIGN, *elements) == word


def test_a_card_shows_no_transaction(host: Host) -> None:
    host.verify()
    host.ask(Command.REGISTER, *REGISTER)
    host.verify()
    content = (CommandTag.TRANSACTION_CONTENT, b"Pay 5")
    assert host.word(Command.SIGN, *SIGN[:3], content, SIGN[3]) == 0x6982


def test_the_models_attestation_type_and_no_other(host: Host) -> None:
    host.verify()
    surrogate = (CommandTag.ATTESTATION_TYPE, struct.pack("<H", AttestationType.BASIC_SURROGATE))
    assert host.word(Command.REGISTER, *REGISTER[:4], surrogate, REGISTER[5]) == 0x6A81


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (0x9000, CommandStatus.OK),
        (0x6100, CommandStatus.OK),
        (0x61FF, CommandStatus.OK),
        (0x6982, CommandStatus.ACCESS_DENIED),
        (0x6A88, CommandStatus.USER_NOT_ENROLLED),
        (0x6400, CommandStatus.CMD_NOT_SUPPORTED),
        (0x6A81, CommandStatus.ATTESTATION_NOT_SUPPORTED),
        (0x6A80, CommandStatus.PARAMS_INVALID),
        (0x6983, CommandStatus.KEY_DISAPPEARED_PERMANENTLY),
        (0x6F00, CommandStatus.ERR_UNKNOWN),
        (0x63C3, CommandStatus.ERR_UNKNOWN),
        (0x6D00, CommandStatus.ERR_UNKNOWN),
    ],
)
def test_status_words_and_what_a_host_takes_them_for(word: int, status: CommandStatus) -> None:
    assert status_of_word(word) is status
    if status in STATUS_WORDS and word >> 8 != 0x61:
        assert STATUS_WORDS[status] == word


def test_long_answers_the_bindings_own_way(store: KeyStore, state: AuthenticatorState) -> None:
    host = Host(Card([UafApplet(store, state, get_response=False)], b"\x3b\x00").transmit)
    host.verify()
    (raw,) = host.ask(Command.REGISTER, *REGISTER)
    assert isinstance(raw.value, bytes)
    assert parse_registration_assertion(raw.value).aaid == "F10B#0811"
    assert host.parts > 1
    host.verify()
    host.uaf(element(Command.REGISTER, sequence(*REGISTER)))
    assert host.transmit(bytes([0x80, 0x36, 0, 1, 0])) == b"\x6a\x86"  # all of it was read


def test_a_token_of_verify_ends_with_its_time(store: KeyStore, state: AuthenticatorState) -> None:
    times = iter([0.0, 1e6])
    applet = UafApplet(store, state, tokens=UserVerifyTokens(clock=lambda: next(times)))
    host = Host(Card([applet], b"\x3b\x00").transmit)
    assert host.verify() == b"\x90\x00"
    assert host.word(Command.REGISTER, *REGISTER) == 0x6982


def test_the_tries_are_kept_in_the_authenticators_file(store: KeyStore, tmp_path: Path) -> None:
    for tried in range(1, 3):
        state = AuthenticatorState(tmp_path / "uaf.sqlite", store)
        host = Host(Card([UafApplet(store, state)], b"\x3b\x00").transmit)
        assert host.verify(b"000000") == bytes([0x63, 0xC0 | (MAX_TRIES - tried)])
        state.close()
