"""The application's commands against answers from a script: what the standard says, and what no card should say."""

import contextlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.hsm.errors import DeviceError, KeyStoreError, PinIncorrect, PinLocked
from fidoloop.hsm.piv import tlv
from fidoloop.hsm.piv.apdu import Channel, StatusError
from fidoloop.hsm.piv.application import P256, P384, RSA2048, PivApplication

from .scripted import OK, ScriptedCard

_KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()  # workers of a test run must see the same
POINT = _KEY.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
PIN = b"123456\xff\xff"
Command = Callable[[PivApplication], object]


def application(*answers: bytes) -> PivApplication:
    return PivApplication(Channel(ScriptedCard(*answers).transmit))


def key_template(*elements: tuple[int, bytes]) -> bytes:
    return tlv.encode(0x7F49, b"".join(tlv.encode(tag, value) for tag, value in elements))


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (lambda piv: piv.select(), "00a4040005a00000030800"),
        (lambda piv: piv.pin_state(), "00200080"),
        (lambda piv: piv.verify_pin(PIN), "0020008008313233343536ffff"),
        (lambda piv: piv.log_out(), "0020ff80"),
        (lambda piv: piv.change_pin(PIN, PIN), "0024008010313233343536ffff313233343536ffff"),
        (lambda piv: piv.unblock_pin(PIN, PIN), "002c008010313233343536ffff313233343536ffff"),
        (lambda piv: piv.put_data(0x5FC105, b"\1"), "00db3fff085c035fc105530101"),
        (lambda piv: piv.delete_key(0x82), "00f6ff82"),
    ],
)
def test_commands_are_those_of_the_standard(command: Command, sent: str) -> None:
    card = ScriptedCard(OK)
    command(PivApplication(Channel(card.transmit)))
    assert card.sent == [bytes.fromhex(sent)]


def test_a_signature_is_asked_for_as_the_standard_says() -> None:
    card = ScriptedCard(tlv.encode(0x7C, tlv.encode(0x82, b"signature")) + OK)
    assert PivApplication(Channel(card.transmit)).sign(0x9A, P256, bytes(32)) == b"signature"
    assert card.sent == [bytes.fromhex("0087119a267c2482008120" + "00" * 32 + "00")]


@pytest.mark.parametrize(
    ("sw", "error", "tries_left"),
    [(0x63C2, PinIncorrect, 2), (0x63C1, PinIncorrect, 1), (0x6300, PinIncorrect, None), (0x6A80, PinIncorrect, None)],
)
def test_a_wrong_pin_and_the_tries_left(sw: int, error: type[PinIncorrect], tries_left: int | None) -> None:
    with pytest.raises(error) as refused:
        application(sw.to_bytes(2)).verify_pin(PIN)
    assert refused.value.tries_left == tries_left


@pytest.mark.parametrize("sw", [0x63C0, 0x6983])
def test_a_locked_pin_and_what_to_do(sw: int) -> None:
    with pytest.raises(PinLocked, match="fidoloop keys unblock"):
        application(sw.to_bytes(2)).verify_pin(PIN)
    with pytest.raises(PinLocked, match="PUK is locked"):
        application(sw.to_bytes(2)).unblock_pin(PIN, PIN)
    assert application(sw.to_bytes(2)).pin_state().tries_left == 0


def test_a_refusal_that_is_not_about_the_pin_is_none() -> None:
    with pytest.raises(StatusError):
        application(b"\x6d\x00").verify_pin(PIN)
    with pytest.raises(StatusError):
        application(b"\x6a\x88").pin_state()


@pytest.mark.parametrize("sw", [0x6D00, 0x6E00, 0x6985])
def test_a_card_that_does_not_tell_version_and_serial(sw: int) -> None:
    assert application(sw.to_bytes(2)).version() is None
    assert application(sw.to_bytes(2)).serial() is None


def test_version_and_serial_of_a_card_that_tells() -> None:
    assert application(b"\5\4\3" + OK).version() == "5.4.3"
    assert application(b"\0\1\0\2" + OK).serial() == "65538"
    assert application(b"\5" + OK).version() is None
    assert application(b"\5" + OK).serial() is None


@pytest.mark.parametrize("sw", [0x6A82, 0x6A88])
def test_what_is_not_there_is_none(sw: int) -> None:
    for command in (
        lambda piv: piv.get_data(0x5FC105),
        lambda piv: piv.metadata(0x9A),
        lambda piv: piv.attest(0x9A),
    ):
        assert command(application(sw.to_bytes(2))) is None
    assert application(b"\x53\x00" + OK).get_data(0x5FC105) is None


def test_keys_are_read_as_the_standard_writes_them() -> None:
    key = application(key_template((0x86, POINT)) + OK).generate(0x9A, P256)
    assert key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) == POINT
    modulus = (1 << 2047) + 1
    rsa = application(key_template((0x81, modulus.to_bytes(256)), (0x82, b"\1\0\1")) + OK).generate(0x9A, RSA2048)
    assert rsa.public_numbers() == type(rsa.public_numbers())(65537, modulus)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (lambda piv: piv.generate(0x9A, P256), b""),
        (lambda piv: piv.generate(0x9A, P256), key_template()),
        (lambda piv: piv.generate(0x9A, P256), key_template((0x86, POINT))[:-1]),
        (lambda piv: piv.generate(0x9A, P256), key_template((0x86, POINT), (0x86, POINT))),
        (lambda piv: piv.generate(0x9A, P256), key_template((0x86, POINT[:-1] + bytes((POINT[-1] ^ 1,))))),
        (lambda piv: piv.generate(0x9A, P256), key_template((0x86, b"\4" + bytes(64)))),
        (lambda piv: piv.generate(0x9A, P256), key_template((0x86, b"\0"))),
        (lambda piv: piv.generate(0x9A, P256), key_template((0x86, b"\2" + POINT[1:33]))),
        (lambda piv: piv.generate(0x9A, P384), key_template((0x86, POINT))),
        (lambda piv: piv.generate(0x9A, RSA2048), key_template((0x81, bytes(256)), (0x82, b"\1\0\1"))),
        (lambda piv: piv.generate(0x9A, RSA2048), key_template((0x81, b"\xff" * 256), (0x82, b""))),
        (lambda piv: piv.generate(0x9A, RSA2048), key_template((0x86, POINT))),
        (lambda piv: piv.get_data(0x5FC105), b"\x53\x05abc"),
        (lambda piv: piv.get_data(0x5FC105), b"\x54\x01a"),
        (lambda piv: piv.metadata(0x9A), b"\x01\x01"),
        (lambda piv: piv.metadata(0x9A), b"\x01\x00"),
        (lambda piv: piv.metadata(0x9A), b"\x01\x01\x11\x04\x02\x86\x00"),
        (lambda piv: piv.sign(0x9A, P256, bytes(32)), b"\x7c\x03\x82\x05a"),
        (lambda piv: piv.sign(0x9A, P256, bytes(32)), b"\x7c\x02\x81\x00"),
        (lambda piv: piv.agree(0x9A, P256, POINT), b"\x7c"),
        (lambda piv: piv.challenge(3), b"\x7c\x00"),
        (lambda piv: piv.management_algorithm(), b"\x01"),
    ],
    ids=lambda value: "" if callable(value) else f"{len(value)} bytes",
)
def test_garbage_is_a_device_error(command: Command, answer: bytes) -> None:
    with pytest.raises(DeviceError, match="malformed"):
        command(application(answer + OK))


@given(st.binary(max_size=80), st.sampled_from(range(6)))
def test_whatever_a_card_answers_there_is_a_value_or_an_error_of_ours(answer: bytes, which: int) -> None:
    commands: list[Command] = [
        lambda piv: piv.generate(0x9A, P256),
        lambda piv: piv.generate(0x9A, RSA2048),
        lambda piv: piv.get_data(0x5FC105),
        lambda piv: piv.metadata(0x9A),
        lambda piv: piv.sign(0x9A, P256, bytes(32)),
        lambda piv: piv.attest(0x9A),
    ]
    with contextlib.suppress(KeyStoreError):
        commands[which](application(answer + OK))
