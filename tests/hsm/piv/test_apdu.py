import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.hsm.errors import DeviceError
from fidoloop.hsm.piv.apdu import Channel, StatusError, offers_extended_length

from .scripted import OK, ScriptedCard


@pytest.mark.parametrize(
    ("data", "answer", "sent"),
    [
        (b"", False, "00200080"),
        (b"", True, "00200080" + "00"),
        (b"\x01\x02", False, "00200080" + "02" + "0102"),
        (b"\x01\x02", True, "00200080" + "02" + "0102" + "00"),
    ],
    ids=["case 1", "case 2", "case 3", "case 4"],
)
def test_the_four_cases_of_commands(data: bytes, answer: bool, sent: str) -> None:
    card = ScriptedCard(OK)
    Channel(card.transmit).send(0x20, 0, 0x80, data, answer=answer)
    assert card.sent == [bytes.fromhex(sent)]


def test_t0_has_no_le_beside_data() -> None:
    card = ScriptedCard(OK, OK)
    channel = Channel(card.transmit, le_with_data=False)
    channel.send(0x20, 0, 0x80, b"\1")
    channel.send(0x20, 0, 0x80)
    assert card.sent == [bytes.fromhex("002000800101"), bytes.fromhex("0020008000")]


@given(st.binary(min_size=256, max_size=2000))
def test_long_commands_are_chained(data: bytes) -> None:
    blocks = -(-len(data) // 255)
    card = ScriptedCard(*[OK] * blocks)
    Channel(card.transmit).send(0xDB, 0x3F, 0xFF, data)
    assert [command[0] for command in card.sent] == [0x10] * (blocks - 1) + [0x00]
    assert b"".join(command[5 : 5 + command[4]] for command in card.sent) == data
    assert card.sent[-1][-1:] == b"\0"


def test_a_chain_ends_where_the_card_refuses_a_part() -> None:
    card = ScriptedCard(OK, b"\x68\x84")
    with pytest.raises(StatusError) as refused:
        Channel(card.transmit).send(0xDB, 0x3F, 0xFF, bytes(600))
    assert (refused.value.sw, len(card.sent)) == (0x6884, 2)


def test_extended_length_is_used_where_it_is_offered() -> None:
    card = ScriptedCard(OK)
    Channel(card.transmit, extended=True).send(0xDB, 0x3F, 0xFF, bytes(300))
    assert card.sent == [bytes.fromhex("00db3fff00012c") + bytes(300) + b"\0\0"]


def test_a_card_that_refuses_extended_length_after_all_is_chained_to_from_there_on() -> None:
    card = ScriptedCard(b"\x67\x00", OK, OK, OK, OK)
    channel = Channel(card.transmit, extended=True)
    for _ in range(2):
        channel.send(0xDB, 0x3F, 0xFF, bytes(300), answer=False)
    assert [command[0] for command in card.sent] == [0x00, 0x10, 0x00, 0x10, 0x00]


def test_another_refusal_of_an_extended_command_is_one() -> None:
    card = ScriptedCard(b"\x69\x82")
    with pytest.raises(StatusError):
        Channel(card.transmit, extended=True).send(0xDB, 0x3F, 0xFF, bytes(300))


def test_what_the_card_holds_back_is_fetched() -> None:
    card = ScriptedCard(b"ab\x61\x02", b"cd\x61\x00", b"e" * 256 + OK)
    assert Channel(card.transmit).send(0xCB, 0x3F, 0xFF, b"\1") == b"abcd" + b"e" * 256
    assert card.sent[1:] == [bytes.fromhex("00c0000002"), bytes.fromhex("00c0000000")]


def test_a_card_that_insists_on_a_length_gets_it() -> None:
    card = ScriptedCard(b"\x6c\x03", b"abc" + OK)
    assert Channel(card.transmit).send(0xF8, 0, 0) == b"abc"
    assert [command[4:] for command in card.sent] == [b"\0", b"\3"]


@pytest.mark.parametrize("answer", [b"a" * 200 + b"\x61\x00", b"\x61\x00"], ids=["bytes", "nothing"])
def test_an_answer_without_end_is_refused(answer: bytes) -> None:
    def forever(_: bytes) -> bytes:
        return answer

    with pytest.raises(DeviceError, match="does not end"):
        Channel(forever).send(0xCB, 0x3F, 0xFF)


@pytest.mark.parametrize("answer", [b"", b"\x90"])
def test_an_answer_without_a_status_word_is_refused(answer: bytes) -> None:
    with pytest.raises(DeviceError, match="status word"):
        Channel(ScriptedCard(answer).transmit).send(0xA4, 4, 0)


@pytest.mark.parametrize(
    ("atr", "extended"),
    [
        ("3bfd1300008131fe158073c021c057597562694b657940", True),  # YubiKey 5
        ("3b8a800173c0214057000000000000", False),  # historical bytes of another category
        ("3b85800180730000c0", True),
        ("3b888001004180730000409000", True),  # behind another object
        ("3b888001004780730000409000", False),  # within another object
        ("3b88800100730000409000" + "00", True),
        ("3b858001807300001f", False),
        ("3b828001807f", False),
        ("3b", False),
        ("", False),
        ("3bff", False),
        ("3b8f", False),
    ],
)
def test_extended_length_as_the_atr_offers_it(atr: str, extended: bool) -> None:
    assert offers_extended_length(bytes.fromhex(atr)) is extended


@given(st.binary(max_size=33))
def test_any_atr_is_read(atr: bytes) -> None:
    assert offers_extended_length(atr) in (True, False)
