"""Authentication by the card management key (SP 800-73-4 part 2, appendix A.1) and SET MANAGEMENT KEY."""

import secrets

import pytest

from fidoloop.hsm.piv.tlv import encode, only
from fidoloop.hsm.sim.piv.registry import Algorithm, Ins
from tests.hsm.sim.host import MANAGEMENT_KEY, Host, encrypt

ALGORITHMS = [
    (Algorithm.TDES, 24, 8),
    (Algorithm.AES128, 16, 16),
    (Algorithm.AES192, 24, 16),
    (Algorithm.AES256, 32, 16),
]
DES = Algorithm.TDES


def send(host: Host, template: bytes, algorithm: int = DES) -> tuple[int, bytes]:
    status, answer = host.send(Ins.GENERAL_AUTHENTICATE, algorithm, 0x9B, encode(0x7C, template))
    return status, only(answer, 0x7C) if status == 0x9000 and answer else b""


def witness(host: Host, algorithm: int = DES, key: bytes = MANAGEMENT_KEY) -> bytes:
    """Ask for a witness and decrypt it."""
    return encrypt(key, algorithm, only(send(host, b"\x80\x00", algorithm)[1], 0x80), decrypt=True)


def managed(host: Host) -> bool:
    """Whether the card takes management commands."""
    return host.status(Ins.PUT_DATA, 0x3F, 0xFF, encode(0x5C, b"\x5f\x00\x01") + encode(0x53, b"x")) == 0x9000


def set_key(host: Host, algorithm: int, key: bytes, p2: int = 0xFF) -> int:
    return host.status(Ins.SET_MANAGEMENT_KEY, 0xFF, p2, bytes([algorithm, 0x9B, len(key)]) + key)


@pytest.mark.parametrize(("algorithm", "length", "block"), ALGORITHMS)
def test_both_authentications_work_with_every_algorithm(
    manager: Host, algorithm: Algorithm, length: int, block: int
) -> None:
    key = secrets.token_bytes(length)
    assert set_key(manager, algorithm, key) == 0x9000
    manager.card.reset()
    assert not managed(manager)
    assert manager.authenticate(key, algorithm) == 0x9000
    assert managed(manager)
    manager.card.reset()
    challenge = secrets.token_bytes(block)
    shown = encode(0x80, witness(manager, algorithm, key))
    status, answer = send(manager, shown + encode(0x81, challenge) + encode(0x82, b""), algorithm)
    assert (status, only(answer, 0x82)) == (0x9000, encrypt(key, algorithm, challenge))
    assert managed(manager)


def test_zero_is_another_number_of_3des(host: Host) -> None:
    assert host.authenticate(algorithm=0x03) == 0x9000
    challenge = only(send(host, b"\x81\x00", 0)[1], 0x81)
    assert send(host, encode(0x82, encrypt(MANAGEMENT_KEY, DES, challenge)), 0)[0] == 0x9000


@pytest.mark.parametrize("algorithm", [0x08, 0x0A, 0x0C, 0x11, 0xFF])
def test_another_algorithm_than_the_keys_is_refused(host: Host, algorithm: int) -> None:
    assert send(host, b"\x81\x00", algorithm)[0] == 0x6A86


def test_a_wrong_response_also_ends_what_was_authenticated(manager: Host) -> None:
    send(manager, b"\x81\x00")
    assert send(manager, encode(0x82, bytes(8)))[0] == 0x6982
    assert not managed(manager)


def test_a_wrong_witness_is_refused_without_an_answer(host: Host) -> None:
    witness(host)
    assert send(host, encode(0x80, bytes(8)) + encode(0x81, bytes(8))) == (0x6982, b"")
    assert not managed(host)


def test_a_challenge_is_good_for_one_answer(host: Host) -> None:
    challenge = only(send(host, b"\x81\x00")[1], 0x81)
    response = encode(0x82, encrypt(MANAGEMENT_KEY, DES, challenge))
    assert send(host, encode(0x82, bytes(8)))[0] == 0x6982
    assert send(host, response)[0] == 0x6982
    assert not managed(host)


def test_a_challenge_is_forgotten_at_any_other_command(host: Host) -> None:
    challenge = only(send(host, b"\x81\x00")[1], 0x81)
    host.ok(Ins.GET_VERSION)
    assert send(host, encode(0x82, encrypt(MANAGEMENT_KEY, DES, challenge)))[0] == 0x6982


def test_the_two_authentications_cannot_be_mixed(host: Host) -> None:
    asked = witness(host)
    assert send(host, encode(0x82, asked))[0] == 0x6982
    challenge = only(send(host, b"\x81\x00")[1], 0x81)
    both = encode(0x80, encrypt(MANAGEMENT_KEY, DES, challenge)) + encode(0x81, bytes(8))
    assert send(host, both)[0] == 0x6982


def test_nothing_is_encrypted_for_somebody_without_the_key(host: Host) -> None:
    assert send(host, encode(0x81, bytes(8)) + encode(0x82, b""))[0] == 0x6A80


@pytest.mark.parametrize(
    "template",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x80\x00\x81\x00", id="both beginnings"),
        pytest.param(b"\x81\x00\x82\x00", id="a challenge and an empty response"),
        pytest.param(b"\x83\x01\x00", id="unknown"),
        pytest.param(b"\x81\x00\x81\x00", id="twice"),
        pytest.param(b"\x81\x05\x00", id="cut off"),
        pytest.param(b"\x80\x08" + bytes(8) + b"\x81\x07" + bytes(7), id="a short challenge"),
    ],
)
def test_other_templates_are_refused(host: Host, template: bytes) -> None:
    send(host, b"\x80\x00")
    assert send(host, template)[0] == 0x6A80


def test_every_challenge_is_another(host: Host) -> None:
    assert len({send(host, b"\x81\x00")[1] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("algorithm", "length"), [(Algorithm.AES128, 15), (Algorithm.AES128, 24), (Algorithm.TDES, 16), (0x11, 32), (0, 24)]
)
def test_a_management_key_has_its_algorithms_length(manager: Host, algorithm: int, length: int) -> None:
    assert set_key(manager, algorithm, bytes(range(length))) == 0x6A80


@pytest.mark.parametrize("data", [b"", b"\x03\x9b", b"\x03\x9a\x18" + MANAGEMENT_KEY, b"\x03\x9b\x17" + MANAGEMENT_KEY])
def test_a_malformed_management_key_is_refused(manager: Host, data: bytes) -> None:
    assert manager.status(Ins.SET_MANAGEMENT_KEY, 0xFF, 0xFF, data) == 0x6A80
    assert manager.authenticate() == 0x9000


def test_the_management_key_is_changed_by_who_has_it_and_never_wants_touch(host: Host) -> None:
    assert set_key(host, DES, MANAGEMENT_KEY) == 0x6982
    assert host.authenticate() == 0x9000
    assert set_key(host, DES, MANAGEMENT_KEY, p2=0xFE) == 0x6A86
