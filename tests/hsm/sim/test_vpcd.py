"""The card in the virtual reader of a real pcscd, and what can be made to go wrong with it."""

import socket
import threading
from collections.abc import Iterator

import pytest
from smartcard import scard

from fidoloop.hsm.sim.card import Card
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.readers import events, reader_with, wait_for_card
from fidoloop.hsm.sim.vpcd import Fault, InsertedCard, ReaderError
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd
from tests.hsm.sim.host import new_host

VERSION = bytes.fromhex("00fd000000")
SERIAL = bytes.fromhex("00f8000000")
VERIFY = bytes.fromhex("0020008008313233343536ffff")
ASK_PIN = bytes.fromhex("00200080")


class Connection:
    """A PC/SC connection to the card in a reader."""

    def __init__(self, reader: str) -> None:
        result, self.context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        assert result == scard.SCARD_S_SUCCESS
        result, self.card, _ = scard.SCardConnect(
            self.context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1
        )
        assert result == scard.SCARD_S_SUCCESS, scard.SCardGetErrorMessage(result)

    def transmit(self, command: bytes) -> bytes | None:
        """Return the card's answer, None where there is none."""
        result, answer = scard.SCardTransmit(self.card, scard.SCARD_PCI_T1, list(command))
        return bytes(answer) if result == scard.SCARD_S_SUCCESS else None

    def reconnect(self, initialization: int) -> None:
        result, _ = scard.SCardReconnect(self.card, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1, initialization)
        assert result == scard.SCARD_S_SUCCESS

    def close(self) -> None:
        scard.SCardReleaseContext(self.context)


@pytest.fixture
def connection(fidoloop_card: LabCard) -> Iterator[Connection]:
    opened = Connection(fidoloop_card.reader)
    yield opened
    opened.close()


@pytest.fixture
def card(fidoloop_card_factory: Factory) -> Card:
    return new_host(fidoloop_card_factory).card


def test_commands_reach_the_card_through_pcscd(fidoloop_card: LabCard, connection: Connection) -> None:
    assert connection.transmit(VERSION) == b"\x05\x07\x00\x90\x00"
    assert connection.transmit(SERIAL) == fidoloop_card.store.state.serial.to_bytes(4) + b"\x90\x00"
    assert fidoloop_card.inserted.commands == 2


def test_extended_length_reaches_the_card_through_pcscd(connection: Connection) -> None:
    command = bytes.fromhex("00cb3fff000005" + "5c035fff01" + "0000")
    answer = connection.transmit(command)
    assert answer is not None
    assert len(answer) > 300
    assert answer[-2:] == b"\x90\x00"


@pytest.mark.parametrize("how", [scard.SCARD_RESET_CARD, scard.SCARD_UNPOWER_CARD])
def test_a_reset_of_the_card_drops_the_verification(connection: Connection, how: int) -> None:
    assert [connection.transmit(VERIFY), connection.transmit(ASK_PIN)] == [b"\x90\x00", b"\x90\x00"]
    connection.reconnect(how)
    assert connection.transmit(ASK_PIN) == b"\x63\xc3"


def test_a_pulled_card_is_gone_and_comes_back_without_its_session(
    fidoloop_card: LabCard, connection: Connection
) -> None:
    connection.transmit(VERIFY)
    fidoloop_card.pull()
    assert connection.transmit(VERSION) is None
    assert fidoloop_card.inserted.wait_pulled(0)
    fidoloop_card.insert()
    again = Connection(fidoloop_card.reader)
    assert again.transmit(ASK_PIN) == b"\x63\xc3"
    again.close()


@pytest.mark.parametrize(
    ("fault", "tries_left"), [(Fault.PULLED_BEFORE, b"\x63\xc3"), (Fault.PULLED_AFTER, b"\x63\xc2")]
)
def test_a_card_is_pulled_in_mid_command(
    fidoloop_card: LabCard, connection: Connection, fault: Fault, tries_left: bytes
) -> None:
    fidoloop_card.inserted.arm(fault, ins=0x20)
    assert connection.transmit(VERSION) is not None
    assert connection.transmit(bytes.fromhex("0020008008303030303030ffff")) is None
    assert fidoloop_card.inserted.wait_pulled(10)
    fidoloop_card.pull()
    fidoloop_card.insert()
    again = Connection(fidoloop_card.reader)
    assert again.transmit(ASK_PIN) == tries_left
    again.close()


def test_a_silent_card_answers_only_by_being_pulled(fidoloop_card: LabCard, connection: Connection) -> None:
    fidoloop_card.inserted.arm(Fault.SILENT)
    answers: list[bytes | None] = []
    waiting = threading.Thread(target=lambda: answers.append(connection.transmit(VERSION)))
    waiting.start()
    assert fidoloop_card.inserted.wait_for_fault(10)
    assert waiting.is_alive()
    fidoloop_card.pull()
    waiting.join()
    assert answers == [None]


def test_a_slow_card_answers_rightly_and_once_slowly(fidoloop_card: LabCard, connection: Connection) -> None:
    fidoloop_card.inserted.arm(Fault.SLOW, seconds=0.05)
    assert connection.transmit(VERSION) == b"\x05\x07\x00\x90\x00"
    assert fidoloop_card.inserted.wait_for_fault(0)
    assert connection.transmit(VERSION) == b"\x05\x07\x00\x90\x00"


def test_a_slow_card_can_be_pulled_while_it_thinks(fidoloop_card: LabCard, connection: Connection) -> None:
    fidoloop_card.inserted.arm(Fault.SLOW, seconds=3600)
    waiting = threading.Thread(target=connection.transmit, args=(VERSION,))
    waiting.start()
    assert fidoloop_card.inserted.wait_for_fault(10)
    fidoloop_card.pull()
    waiting.join()


def test_two_readers_have_a_card_each(
    fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, fidoloop_card: LabCard
) -> None:
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, slot=1) as second:
        serials = set()
        for one in (fidoloop_card, second):
            connection = Connection(one.reader)
            serials.add(connection.transmit(SERIAL))
            connection.close()
        assert serials == {one.store.state.serial.to_bytes(4) + b"\x90\x00" for one in (fidoloop_card, second)}


def test_the_reader_a_card_came_into_is_found(
    fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, fidoloop_card: LabCard, card: Card
) -> None:
    before = events()
    assert reader_with(card.atr, before, slot=0, timeout=0) is None
    with InsertedCard(card, port=fidoloop_pcscd.port + 1):
        assert reader_with(card.atr, before, slot=0) == fidoloop_pcscd.readers[1]
        assert reader_with(b"another", before, slot=0, timeout=0) is None
    wait_for_card(fidoloop_pcscd.readers[1], present=False)
    before = events()
    fidoloop_card.pull()
    fidoloop_card.insert()
    with InsertedCard(card, port=fidoloop_pcscd.port + 1):
        wait_for_card(fidoloop_pcscd.readers[1], present=True)
        for slot, name in enumerate(fidoloop_pcscd.readers):
            assert reader_with(card.atr, before, slot=slot) == name
    wait_for_card(fidoloop_pcscd.readers[1], present=False)


def test_waiting_for_a_card_ends(fidoloop_pcscd: PrivatePcscd, fidoloop_card: LabCard) -> None:
    with pytest.raises(TimeoutError, match="Virtual PCD"):
        wait_for_card(fidoloop_card.reader, present=False, timeout=0)
    with pytest.raises(TimeoutError, match="No such reader"):
        wait_for_card("No such reader", present=True, timeout=0)


def test_a_reader_takes_one_card(fidoloop_pcscd: PrivatePcscd, fidoloop_card: LabCard, card: Card) -> None:
    second = InsertedCard(card, port=fidoloop_pcscd.port)
    with pytest.raises(ReaderError, match="is another card in it"):
        second.insert(timeout=0.1)
    assert second.wait_pulled(0)


def test_a_card_needs_a_reader(card: Card) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ReaderError, match=r"no virtual reader listens on 127.0.0.1 port"):
            InsertedCard(card, port=taken.getsockname()[1]).insert()


def test_a_card_is_inserted_once(fidoloop_card: LabCard) -> None:
    with pytest.raises(RuntimeError):
        fidoloop_card.inserted.insert()


def test_a_restart_of_pcscd_throws_the_card_out(fidoloop_card_factory: Factory, card: Card) -> None:
    with PrivatePcscd() as pcscd:
        inserted = InsertedCard(card, port=pcscd.port)
        inserted.insert()
        pcscd.stop(kill=True)
        assert inserted.wait_pulled(10)
        inserted.pull()
        with pytest.raises(ReaderError):
            inserted.insert()
        pcscd.start()
        InsertedCard(card, port=pcscd.port).insert()


def test_frames_are_taken_however_tcp_cuts_them(card: Card) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        inserted = InsertedCard(card, port=listener.getsockname()[1])
        inserting = threading.Thread(target=inserted.insert)
        inserting.start()
        reader, _ = listener.accept()
        with reader:
            for byte in bytes.fromhex("000101" + "000104" + "000500fd000000"):
                reader.sendall(bytes([byte]))
            inserting.join()
            expected = [card.atr, bytes.fromhex("0507009000")]
            received = b"".join(reader.recv(1) for _ in range(sum(map(len, expected)) + 2 * len(expected)))
            assert received == b"".join(len(one).to_bytes(2) + one for one in expected)
            reader.sendall(bytes.fromhex("000101" * 2 + "000104" * 2 + "000100"))
            assert reader.recv(len(card.atr) + 2, socket.MSG_WAITALL)[2:] == card.atr
            assert reader.recv(len(card.atr) + 2, socket.MSG_WAITALL)[2:] == card.atr
        assert inserted.wait_pulled(10)
        inserted.pull()
