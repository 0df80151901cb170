"""The host's side of the UAF APDU binding: readers and cards that are not what they should be."""

from collections.abc import Iterator

import pytest

from fidoloop.hsm.errors import DeviceError, KeyStoreError, PinIncorrect, PinLocked, TokenAbsent, TokenAmbiguous
from fidoloop.hsm.sim.apdu import ApduError, Command
from fidoloop.hsm.sim.card import Applet
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.uaf_card import AID, UafCard
from fidoloop.lab_card import LabCard
from fidoloop.pcscd import PrivatePcscd

GET_INFO = bytes.fromhex("01340000")


class Scripted(Applet):
    """An applet that answers as it is told, and remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        self.answers: list[bytes | int] = []

    @property
    def aid(self) -> bytes:
        return AID

    def select(self) -> bytes:
        return b""

    def reset(self) -> None:
        """Nothing lasts for a session."""

    def process(self, command: Command) -> bytes:
        self.sent.append(command)
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise ApduError(answer)
        return answer


@pytest.fixture
def applet() -> Scripted:
    return Scripted()


@pytest.fixture
def card(fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, applet: Scripted) -> Iterator[UafCard]:
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, applet) as inserted:
        yield UafCard(inserted.reader)


def test_a_command_goes_out_whole_and_the_answer_comes_back_whole(card: UafCard, applet: Scripted) -> None:
    command, answer = bytes(range(256)) * 3, bytes(reversed(range(256))) * 4
    applet.answers = [answer]
    assert card.exchange(command) == (0x9000, answer)
    (sent,) = applet.sent
    assert (sent.cla, sent.ins, sent.p1, sent.p2, sent.data) == (0x80, 0x36, 0, 0, command)


def test_the_pin_is_sent_once_and_just_before(card: UafCard, applet: Scripted) -> None:
    applet.answers = [b"", b"\1\x36\0\0"]
    assert card.exchange(GET_INFO, pin="1234") == (0x9000, b"\1\x36\0\0")
    assert [(one.cla, one.ins, one.data) for one in applet.sent] == [(0, 0x20, b"1234"), (0x80, 0x36, GET_INFO)]


@pytest.mark.parametrize(
    ("word", "error", "tries"),
    [(0x63C2, PinIncorrect, 2), (0x6983, PinLocked, None), (0x6F00, DeviceError, None), (0x6D00, DeviceError, None)],
)
def test_a_pin_that_was_refused_sends_no_command(
    card: UafCard, applet: Scripted, word: int, error: type[KeyStoreError], tries: int | None
) -> None:
    applet.answers = [word]
    with pytest.raises(error) as refused:
        card.exchange(GET_INFO, pin="1234")
    assert len(applet.sent) == 1
    assert "1234" not in str(refused.value)
    assert getattr(refused.value, "tries_left", None) == tries


@pytest.mark.parametrize("pin", ["", "1" * 256])
def test_a_pin_that_can_be_none_is_not_sent(card: UafCard, applet: Scripted, pin: str) -> None:
    with pytest.raises(PinIncorrect):
        card.exchange(GET_INFO, pin=pin)
    assert applet.sent == []


def test_a_status_word_is_the_answer(card: UafCard, applet: Scripted) -> None:
    applet.answers = [0x6982]
    assert card.exchange(GET_INFO) == (0x6982, b"")


def test_an_announced_answer_is_fetched_part_by_part(card: UafCard, applet: Scripted) -> None:
    applet.answers = [bytes.fromhex("132802002c01"), b"a" * 200, b"b" * 100]
    assert card.exchange(GET_INFO).response == b"a" * 200 + b"b" * 100
    assert [(one.p2, one.data) for one in applet.sent] == [(0, GET_INFO), (1, b""), (1, b"")]


@pytest.mark.parametrize("announced", ["1328020000", "13280200", "132804000000ff7f"])
def test_an_announced_length_that_cannot_be_is_no_answer(card: UafCard, applet: Scripted, announced: str) -> None:
    applet.answers = [bytes.fromhex(announced)]
    with pytest.raises(DeviceError, match="announces"):
        card.exchange(GET_INFO)


def test_an_answer_that_ends_early_is_no_answer(card: UafCard, applet: Scripted) -> None:
    applet.answers = [bytes.fromhex("132802000a00"), b"abc", b""]
    with pytest.raises(DeviceError, match="ends before"):
        card.exchange(GET_INFO)


def test_a_card_of_another_kind_is_no_uaf_card(fidoloop_card: LabCard) -> None:
    with pytest.raises(TokenAbsent, match="no UAF authenticator"):
        UafCard(fidoloop_card.reader).exchange(GET_INFO)


def test_the_reader_is_named_by_a_part_that_no_other_has(fidoloop_pcscd: PrivatePcscd) -> None:
    first, second = fidoloop_pcscd.readers[:2]
    assert UafCard(first).reader == first
    with pytest.raises(TokenAmbiguous):
        UafCard("Virtual")
    with pytest.raises(TokenAbsent, match="no such reader"):
        UafCard("Omnikey")
    with pytest.raises(TokenAbsent):
        UafCard(second).exchange(GET_INFO)  # empty


def test_of_several_readers_the_only_one_with_a_card_is_meant(
    fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, applet: Scripted
) -> None:
    with LabCard(fidoloop_pcscd, fidoloop_card_factory, applet, slot=1) as inserted:
        assert UafCard("Virtual").reader == inserted.reader
        with LabCard(fidoloop_pcscd, fidoloop_card_factory, slot=0), pytest.raises(TokenAmbiguous):
            UafCard("Virtual")
