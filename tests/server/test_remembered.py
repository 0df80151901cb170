"""What a server remembers is bounded, and a request is remembered for one response."""

import pytest

from fidoloop.protocol.uaf.verify_authentication_response import StoredKey
from fidoloop.server import remembered
from fidoloop.server.remembered import Remembered
from fidoloop.server.store.rows import IssuedRequest


def request(number: int) -> IssuedRequest:
    return IssuedRequest(str(number), None, "challenge", "policy", None, "127.0.0.1")


def key(number: int, sign_counter: int = 0) -> StoredKey:
    return StoredKey(
        owner="jeff",
        aaid="F1D0#0001",
        key_id=str(number),
        public_key=b"key",
        public_key_format=0x100,
        signature_algorithm=1,
        sign_counter=sign_counter,
    )


def test_a_request_is_taken_once() -> None:
    memory = Remembered()
    memory.request_issued("data", request(1))
    assert memory.take_request("data") == request(1)
    assert memory.take_request("data") is None


def test_a_key_is_remembered_with_its_new_counter() -> None:
    memory = Remembered()
    memory.key_used(key(1), 7)
    assert memory.keys([("F1D0#0001", "1"), ("F1D0#0001", "2")]) == {("F1D0#0001", "1"): key(1, 7)}


def test_the_oldest_is_forgotten_first_and_use_keeps_a_key_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST", 2)
    memory = Remembered()
    for number in range(3):
        memory.request_issued(str(number), request(number))
    assert [memory.take_request(str(number)) is None for number in range(3)] == [True, False, False]
    for number in (0, 1, 0, 2):
        memory.key_used(key(number), 1)
    assert [bool(memory.keys([("F1D0#0001", str(number))])) for number in range(3)] == [True, False, True]
