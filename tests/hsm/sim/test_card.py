"""What any card does, whatever its applets: selection, classes, chaining, GET RESPONSE."""

import pytest

from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.card import Applet, Card

FIRST, SECOND = bytes.fromhex("a000000308000010000100"), bytes.fromhex("a0000006472f0001")
SELECT_FIRST, SELECT_SECOND = "00a404000b" + FIRST.hex(), "00a4040008" + SECOND.hex()


class Echo(Applet):
    """Answers with what it is sent, as often as P1 says; INS 10 sets a flag that INS 11 tells."""

    def __init__(self, aid: bytes) -> None:
        self._aid = aid
        self.flag = False

    @property
    def aid(self) -> bytes:
        return self._aid

    def select(self) -> bytes:
        return self._aid[-1:]

    def reset(self) -> None:
        self.flag = False

    def process(self, command: Command) -> bytes:
        match command.ins:
            case 0x01:
                return command.data * max(1, command.p1)
            case 0x10:
                self.flag = True
                return b""
            case 0x11:
                return bytes([self.flag])
        raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)


@pytest.fixture
def card() -> Card:
    return Card([Echo(FIRST), Echo(SECOND)], bytes.fromhex("3b00"))


def send(card: Card, *commands: str) -> list[str]:
    return [card.transmit(bytes.fromhex(command)).hex() for command in commands]


def test_the_first_applet_is_selected_from_the_start(card: Card) -> None:
    assert send(card, "00010000", "00020000") == ["9000", "6d00"]


@pytest.mark.parametrize("length", [5, 9, 11])
def test_an_applet_is_selected_by_its_whole_or_shortened_name(card: Card, length: int) -> None:
    assert send(card, f"00a40400{length:02x}{FIRST[:length].hex()}") == ["009000"]


def test_whoever_wants_no_answer_to_select_gets_none(card: Card) -> None:
    select = f"00a4040c{len(SECOND):02x}{SECOND.hex()}"
    assert send(card, "00100000", select, "0011000000") == ["9000", "9000", "009000"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("00a4040004" + FIRST[:4].hex(), "6a82"),
        ("00a404000c" + FIRST.hex() + "00", "6a82"),
        ("00a4040005a000000999", "6a82"),
        ("00a4040000", "6a82"),
        ("00a40000023f00", "6a86"),
        ("00a4040408" + SECOND.hex(), "6a86"),
    ],
)
def test_what_cannot_be_selected_leaves_everything_as_it_was(card: Card, command: str, status: str) -> None:
    assert send(card, "00100000", command, "0011000000") == ["9000", status, "019000"]


def test_another_applet_forgets_the_session_the_same_one_keeps_it(card: Card) -> None:
    assert send(card, "00100000", SELECT_FIRST, "0011000000") == ["9000", "009000", "019000"]
    assert send(card, SELECT_SECOND, "0011000000", "00100000") == ["019000", "009000", "9000"]
    assert send(card, SELECT_FIRST, "0011000000", SELECT_SECOND, "0011000000")[1::2] == ["009000", "009000"]


def test_a_reset_selects_the_first_applet_and_forgets_the_session(card: Card) -> None:
    send(card, "00100000", SELECT_SECOND, "00100000", "1001000001aa")
    card.reset()
    assert send(card, "0011000000", "0001000001bb") == ["009000", "bb9000"]


@pytest.mark.parametrize(
    ("cla", "status"),
    [("01", "6881"), ("03", "6881"), ("04", "6882"), ("08", "6882"), ("0c", "6882"), ("40", "6e00"), ("ff", "6e00")],
)
def test_channels_and_secure_messaging_are_refused(card: Card, cla: str, status: str) -> None:
    assert send(card, f"{cla}010000") == [status]


def test_a_chain_is_put_together_and_answered_once(card: Card) -> None:
    assert send(card, "1001020001aa", "1001020002bbcc", "0001020001dd00") == ["9000", "9000", "aabbccddaabbccdd9000"]


@pytest.mark.parametrize(
    ("broken_by", "status"),
    [
        pytest.param("0011000000", "6883", id="another command"),
        pytest.param("0001030001dd", "6883", id="other parameters"),
        pytest.param("1011000001aa", "6883", id="another chain"),
        pytest.param("000102", "6700", id="no command"),
        pytest.param("0401020001dd", "6882", id="secure messaging"),
        pytest.param(SELECT_FIRST, "009000", id="SELECT, which begins anew"),
    ],
)
def test_a_chain_that_is_broken_off_is_forgotten(card: Card, broken_by: str, status: str) -> None:
    assert send(card, "1001000001aa", broken_by, "0001000001dd") == ["9000", status, "dd9000"]


def test_a_chain_has_a_largest_size(card: Card) -> None:
    part = "1001000000ffff" + "00" * 0xFFFF
    assert send(card, part, "1001000001aa", "0001000001dd") == ["9000", "6a84", "dd9000"]


def test_a_long_answer_comes_in_pieces(card: Card) -> None:
    command = "000103" + "0080" + "ab" * 128 + "00"
    first, second = send(card, command, "00c0000080")
    assert first == "ab" * 256 + "6180"
    assert second == "ab" * 128 + "9000"


def test_more_than_256_bytes_to_come_are_told_as_00(card: Card) -> None:
    assert send(card, "00010a0040" + "ab" * 64)[0].endswith("6100")
    assert send(card, "00c0000010")[0] == "ab" * 16 + "6100"
    assert send(card, "00c0000000")[0] == "ab" * 256 + "6170"


def test_an_extended_command_gets_its_answer_whole(card: Card) -> None:
    assert send(card, "0001040000007f" + "cd" * 127 + "0000") == ["cd" * 508 + "9000"]


def test_an_answer_never_exceeds_a_frame(card: Card) -> None:
    answer = card.transmit(bytes.fromhex("0001ff00000202") + b"a" * 0x202 + b"\0\0")
    assert (len(answer), answer[-2:]) == (0xFFFF, b"\x61\x00")


@pytest.mark.parametrize(
    ("command", "status"),
    [("00c0000000", "6985"), ("00c0010000", "6a86"), ("00c0000001aa", "6700")],
)
def test_get_response_without_anything_to_get_is_refused(card: Card, command: str, status: str) -> None:
    assert send(card, command) == [status]


def test_what_was_not_fetched_is_lost_at_the_next_command(card: Card) -> None:
    assert send(card, "0001030080" + "ab" * 128, "00020000", "00c0000000")[1:] == ["6d00", "6985"]
