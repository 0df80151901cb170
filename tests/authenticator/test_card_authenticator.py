"""A UAF card behind the ASM: what it answers that makes no sense is a device's error, never an internal one."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.authenticator.card_authenticator import CardAuthenticator, UafCardUser
from fidoloop.authenticator.commands.registry import Command, CommandTag
from fidoloop.authenticator.commands.status_words import STATUS_WORDS
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.hsm.errors import DeviceError, KeyStoreError
from fidoloop.hsm.uaf_card import Answer
from fidoloop.protocol.uaf.registry import Tag
from fidoloop.protocol.uaf.tlv import element, sequence

T = CommandTag
OK = element(T.STATUS_CODE, b"\0\0")
HASH = bytes(32)


class Stub:
    """A card that answers what it is told; every PIN is right."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.pins: list[str | None] = []

    def exchange(self, command: bytes, *, pin: str | None = None) -> Answer:
        self.pins.append(pin)
        return self.answers.pop(0)


def user(*answers: Answer) -> UafCardUser:
    stub: Any = Stub(*answers)
    return UafCardUser(stub, lambda _request, _tries: "1234", lambda names: len(names) - 1)


def response(command: int, *elements: bytes) -> Answer:
    return Answer(0x9000, element(command + 0x200, OK + b"".join(elements)))


def info(**changed: Any) -> bytes:  # noqa: ANN401 - bytes, or None to leave one out
    values: dict[int, bytes | None] = {
        T.AUTHENTICATOR_INDEX: b"\5",
        Tag.AAID: b"abcd#ef01",
        T.AUTHENTICATOR_METADATA: struct.pack("<HBIHHHH", 0x0027, 8, 4, 2, 4, 0, 1),
        T.ASSERTION_SCHEME: b"UAFV1TLV",
        T.ATTESTATION_TYPE: b"\x08\x3e",
    }
    tags = {tag.name: int(tag) for tag in (*Tag, *T)}
    values |= {tags[name]: value for name, value in changed.items()}
    return element(T.AUTHENTICATOR_INFO, sequence(*((tag, one) for tag, one in values.items() if one is not None)))


def authenticator(*answers: Answer) -> CardAuthenticator:
    (found,) = user(response(Command.GET_INFO, info()), *answers).authenticators()
    return found


def sign(card: CardAuthenticator) -> bytes:
    return card.sign(app_id="https://a.example", final_challenge_hash=HASH, access_token=b"", key_ids=None)


def test_any_card_is_what_it_says_it_is() -> None:
    model = authenticator().model
    assert (model.aaid, model.index, model.algorithm, model.attestation) == ("ABCD#EF01", 5, 1, 0x3E08)
    assert (model.verification, model.key_protection, model.matcher_protection, model.tc_display) == (4, 2, 4, 0)
    assert model.is_second_factor


@pytest.mark.parametrize(
    "changed", [{"ASSERTION_SCHEME": b"V2"}, {"AUTHENTICATOR_METADATA": struct.pack("<HBIHHHH", 0, 8, 4, 2, 4, 0, 7)}]
)
def test_what_is_not_known_here_is_left_out(changed: dict[str, bytes]) -> None:
    assert user(response(Command.GET_INFO, info(**changed))).authenticators() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"AAID": None},
        {"AUTHENTICATOR_INDEX": b""},
        {"AUTHENTICATOR_METADATA": b"short"},
        {"ATTESTATION_TYPE": None},
        {"ASSERTION_SCHEME": b"\xff"},
        {"TC_DISPLAY_PNG_CHARACTERISTICS": b"\0"},
    ],
)
def test_an_info_that_cannot_be_read_is_a_devices_error(changed: dict[str, bytes | None]) -> None:
    with pytest.raises(DeviceError, match="GetInfo"):
        user(response(Command.GET_INFO, info(**changed))).authenticators()


@pytest.mark.parametrize(
    ("status", "word"), [(status, word) for status, word in STATUS_WORDS.items() if status is not CommandStatus.OK]
)
def test_a_refusal_by_status_word_is_the_commands_status(status: CommandStatus, word: int) -> None:
    with pytest.raises(AuthenticatorError) as refused:
        sign(authenticator(Answer(word, b"")))
    assert refused.value.status is status


def test_a_refusal_in_the_response_is_its_status() -> None:
    locked = element(Command.SIGN + 0x200, element(T.STATUS_CODE, b"\x10\0"))
    with pytest.raises(AuthenticatorError) as refused:
        sign(authenticator(Answer(0x9000, locked)))
    assert refused.value.status is CommandStatus.USER_LOCKOUT


def account(username: bytes, handle: bytes) -> bytes:
    return element(T.USERNAME_AND_KEYHANDLE, sequence((T.USERNAME, username), (T.KEYHANDLE, handle)))


def test_of_several_accounts_the_user_chooses_one_and_the_newest_of_a_name_counts() -> None:
    listed = response(Command.SIGN, account(b"a", b"1"), account(b"b", b"2"), account(b"a", b"3"))
    signed = response(Command.SIGN, element(T.AUTHENTICATOR_ASSERTION, b"assertion"))
    assert sign(authenticator(listed, signed)) == b"assertion"


@pytest.mark.parametrize(
    "answer",
    [
        response(Command.SIGN),
        response(Command.REGISTER, element(T.AUTHENTICATOR_ASSERTION, b"x")),
        Answer(0x9000, b"junk"),
        Answer(0x9000, element(Command.SIGN + 0x200, element(T.KEYHANDLE, b"no status"))),
        Answer(0x9000, element(Command.SIGN + 0x200, element(T.STATUS_CODE, b"\xff\xff"))),
        response(Command.SIGN, element(T.USERNAME_AND_KEYHANDLE, element(T.USERNAME, b"jeff"))),
    ],
    ids=range(6),
)
def test_an_answer_that_makes_no_sense_is_a_devices_error(answer: Answer) -> None:
    with pytest.raises(DeviceError):
        sign(authenticator(answer))


def test_an_assertion_that_is_none_registers_nothing() -> None:
    card = authenticator(response(Command.REGISTER, element(T.AUTHENTICATOR_ASSERTION, b"x")))
    with pytest.raises(DeviceError, match="assertion"):
        card.register(
            app_id="https://a.example",
            username="jeff",
            final_challenge_hash=HASH,
            access_token=b"",
            attestation_type=0x3E08,
        )


@given(st.binary(max_size=80))
def test_no_bytes_of_a_card_raise_anything_else(junk: bytes) -> None:
    with pytest.raises((AuthenticatorError, KeyStoreError)):
        sign(authenticator(Answer(0x9000, element(Command.SIGN + 0x200, OK + junk))))
