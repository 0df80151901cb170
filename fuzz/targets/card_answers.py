"""What a card answers its host: PIV containers, metadata and slots, and the UAF authenticator's responses."""

import gzip
from collections.abc import Iterator
from typing import Any, cast

from fidoloop.authenticator.card_authenticator import UafCardUser
from fidoloop.authenticator.commands.registry import Command
from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.piv.apdu import Channel, StatusError, offers_extended_length
from fidoloop.hsm.piv.application import PivApplication
from fidoloop.hsm.piv.container import Container, read_container
from fidoloop.hsm.piv.directory import Directory
from fidoloop.hsm.uaf_card import Answer, _whole
from fuzz.properties import accepted
from fuzz.targets.ctap import script

MAX_BYTES = 4096
DICTIONARY = (
    b"\x90\x00", b"\x61\x00", b"\x6c\x10", b"\x6a\x82", b"\x53\x82", b"\x70\x82", b"\x71\x01\x01\xfe\x00",
    b"\x1f\x8b\x08",    b"\x7f\x49", b"\x86\x41\x04", b"\x13\x28\x02\x00\x00\x01", b"\x01\x36", b"\x11\x38",
    b"\x09\x28", b"\x08\x28\x02\x00",
)  # fmt: skip
_NOT_FOUND = b"\x6a\x82"


def check(data: bytes) -> None:
    """Answers, each after its length in two bytes; and a container. Whatever comes, it is an error of the device."""
    container = accepted(lambda: read_container(data), ValueError)
    if container is not None:
        again = read_container(container.encode())
        assert (again.certificate, again.mscuid, again.mark) == (
            container.certificate,
            container.mscuid,
            container.mark,
        )
    accepted(lambda: offers_extended_length(data))
    refusals = (KeyStoreError, StatusError)
    accepted(lambda: list(Directory().entries(PivApplication(_channel(data)))), *refusals)
    accepted(lambda: PivApplication(_channel(data)).generate(0x9A, 0x11), *refusals)
    accepted(lambda: PivApplication(_channel(data)).attest(0x9A), *refusals)
    accepted(lambda: PivApplication(_channel(data)).version(), *refusals)
    accepted(lambda: _whole(_channel(data), data), *refusals)
    accepted(lambda: [one.model for one in _user(data).authenticators()], KeyStoreError)
    accepted(lambda: _user(data).tell(Command.SIGN, []), KeyStoreError)


def _answers(data: bytes) -> Iterator[bytes]:
    while len(data) >= 2:
        end = 2 + int.from_bytes(data[:2])
        yield data[2:end]
        data = data[end:]
    while True:
        yield _NOT_FOUND


def _channel(data: bytes) -> Channel:
    answers = _answers(data)
    return Channel(lambda _: next(answers))


class _UafCard:
    def __init__(self, data: bytes) -> None:
        self._answers = _answers(data)

    def exchange(self, command: bytes, *, pin: str | None = None) -> Answer:
        return Answer(0x9000, next(self._answers))


def _user(data: bytes) -> UafCardUser:
    return UafCardUser(cast(Any, _UafCard(data)), lambda *_: None, lambda _: None)


def seeds() -> Iterator[bytes]:
    """Yield containers, and what the simulated cards answer."""
    from tests.protocol.builders import leaf, to_der

    certificate = to_der(leaf())
    whole = Container(certificate).encode()
    yield whole
    yield Container(certificate, b"mscuid").encode()
    packed = gzip.compress(certificate, mtime=0)
    yield b"\x70\x82" + len(packed).to_bytes(2) + packed + b"\x71\x01\x01\xfe\x00"
    data = b"\x53\x82" + len(whole).to_bytes(2) + whole
    yield script(data[:256] + b"\x61\x00", data[256:] + b"\x90\x00", b"\x01\x01\x11\x90\x00", b"\x6d\x00")
    yield script(b"\x7f\x49\x43\x86\x41\x04" + bytes(64) + b"\x90\x00")
    yield script(b"\x13\x28\x02\x00\x04\x00\x90\x00", b"\x01\x36\x00\x00\x90\x00")
    yield script(_get_info())
    yield bytes.fromhex("3bfd1300008131fe158073c021c057597562694b657940")


def _get_info() -> bytes:
    from fidoloop.protocol.uaf.tlv import element
    from fuzz.targets.apdu import _uaf

    status, response = _uaf()._processor.process(element(Command.GET_INFO, b""), None)
    assert not status
    return response
