from pathlib import Path

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fidoloop.hsm.errors import DeviceError, ManagementKeyIncorrect, ManagementKeyRequired, PinRequired, UriError
from fidoloop.hsm.piv import tlv
from fidoloop.hsm.piv.apdu import Channel, StatusError
from fidoloop.hsm.piv.application import PivApplication
from fidoloop.hsm.piv.management_key import (
    AES128,
    AES192,
    AES256,
    ENVIRONMENT,
    FACTORY_KEY,
    TRIPLE_DES,
    ManagementKey,
    management_key,
)
from fidoloop.hsm.piv.uri import PivUri

from .scripted import OK, ScriptedCard

KINDS = [(TRIPLE_DES, 24), (AES128, 16), (AES192, 24), (AES256, 32)]


class CardSide:
    """The card's side of mutual authentication, written from the standard (SP 800-73-4 part 2, 3.2.4)."""

    def __init__(self, algorithm: int, key: bytes) -> None:
        cipher = TripleDES(key) if algorithm == TRIPLE_DES else algorithms.AES(key)
        self._cipher = Cipher(cipher, modes.ECB())  # noqa: S305 - one block
        self._witness = bytes(range(8 if algorithm == TRIPLE_DES else 16))

    def _encrypt(self, block: bytes) -> bytes:
        context = self._cipher.encryptor()
        return context.update(block) + context.finalize()

    def witness(self, _: bytes) -> bytes:
        return tlv.encode(0x7C, tlv.encode(0x80, self._encrypt(self._witness))) + OK

    def answer(self, command: bytes) -> bytes:
        found = tlv.fields(tlv.only(command[5 : 5 + command[4]], 0x7C))
        if found[0x80] != self._witness:
            return b"\x69\x82"
        return tlv.encode(0x7C, tlv.encode(0x82, self._encrypt(found[0x81]))) + OK


@pytest.mark.parametrize(("algorithm", "size"), KINDS)
def test_both_sides_prove_that_they_know_the_key(algorithm: int, size: int) -> None:
    key = bytes(range(size))
    side = CardSide(algorithm, key)
    card = ScriptedCard(side.witness, side.answer)
    PivApplication(Channel(card.transmit)).authenticate(ManagementKey(key), algorithm)
    assert card.sent[0] == bytes.fromhex(f"0087{algorithm:02x}9b047c02800000")
    assert card.done


@pytest.mark.parametrize(("algorithm", "size"), KINDS)
def test_a_wrong_key_is_refused_by_the_card(algorithm: int, size: int) -> None:
    side = CardSide(algorithm, bytes(range(size)))
    card = ScriptedCard(side.witness, side.answer)
    with pytest.raises(ManagementKeyIncorrect, match="6982"):
        PivApplication(Channel(card.transmit)).authenticate(ManagementKey(b"\x5a" * size), algorithm)


def test_a_card_that_does_not_know_the_key_is_refused() -> None:
    side = CardSide(AES128, bytes(16))
    card = ScriptedCard(side.witness, tlv.encode(0x7C, tlv.encode(0x82, bytes(16))) + OK)
    with pytest.raises(ManagementKeyIncorrect, match="did not prove"):
        PivApplication(Channel(card.transmit)).authenticate(ManagementKey(bytes(16)), AES128)


@pytest.mark.parametrize(
    "answer",
    [b"", tlv.encode(0x7C, b""), tlv.encode(0x7C, tlv.encode(0x80, bytes(7))), tlv.encode(0x7C, b"\x80\x10\0")],
    ids=["nothing", "empty", "of another size", "cut off"],
)
def test_a_witness_that_is_none_is_a_device_error(answer: bytes) -> None:
    card = ScriptedCard(answer + OK)
    with pytest.raises(DeviceError):
        PivApplication(Channel(card.transmit)).authenticate(ManagementKey(bytes(16)), AES128)


def test_an_algorithm_the_card_does_not_take_is_told_apart() -> None:
    with pytest.raises(StatusError):
        PivApplication(Channel(ScriptedCard(b"\x6a\x86").transmit)).authenticate(ManagementKey(bytes(24)), TRIPLE_DES)


@pytest.mark.parametrize(
    ("size", "told", "tried"),
    [
        (16, None, (AES128,)),
        (24, None, (TRIPLE_DES, AES192)),
        (32, None, (AES256,)),
        (24, AES192, (AES192,)),
        (24, TRIPLE_DES, (TRIPLE_DES,)),
    ],
)
def test_algorithms_are_tried_by_the_keys_length_unless_the_card_tells(
    size: int, told: int | None, tried: tuple[int, ...]
) -> None:
    assert ManagementKey(bytes(size)).algorithms(told) == tried


def test_a_key_of_another_length_than_the_cards_is_wrong() -> None:
    with pytest.raises(ManagementKeyIncorrect):
        ManagementKey(bytes(16)).algorithms(AES256)


def test_the_key_comes_from_the_uris_file_the_environment_or_the_factory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("00" * 24 + "\n")
    monkeypatch.setenv(ENVIRONMENT, "11" * 16)
    assert management_key(PivUri(management_key_source=str(file))).value == bytes(24)
    assert management_key(PivUri()).value == b"\x11" * 16
    assert management_key(PivUri(management_key="default")).value == FACTORY_KEY


def test_the_factorys_key_is_never_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(ManagementKeyRequired, match="management-key-source"):
        management_key(PivUri())


@pytest.mark.parametrize("text", ["c0ffee", "zz" * 24, "00" * 23, "00" * 24 + "\n00"])
def test_what_is_no_key_is_refused_and_not_printed(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(ManagementKeyRequired) as refused:
        management_key(PivUri(management_key_source=str(file)))
    assert text not in str(refused.value)


def test_a_key_file_is_named_and_there(tmp_path: Path) -> None:
    with pytest.raises(PinRequired, match="management key file"):
        management_key(PivUri(management_key_source=str(tmp_path / "none")))
    with pytest.raises(UriError, match="management-key-source"):
        management_key(PivUri(management_key_source="|rm"))


def test_a_key_is_not_shown() -> None:
    assert "11" not in repr(ManagementKey(b"\x11" * 16))
