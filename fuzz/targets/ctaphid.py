"""CTAPHID packets, with CTAP2 and U2F messages in them."""

import threading
from collections.abc import Iterator

from fido2.hid import CTAPHID

from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.hid import BROADCAST, INIT_DATA, NEXT_DATA, PACKET_BYTES, CtapHid
from fuzz.targets.ctap import authenticator

MAX_BYTES = 64 * 24
DICTIONARY = (
    BROADCAST, b"\x86\x00\x08", b"\x83\x00\x19", b"\x90\x00\x01\x04", b"\x81\x00\x40", b"\x91\x00\x00", b"\x00\x01\x00",
    b"\x00\x02\x03\x00", b"\x00\x03\x00\x00", b"CHAN",
)  # fmt: skip
_OURS = b"CHAN"
_COMMANDS = {int(CTAPHID.INIT), int(CTAPHID.PING), int(CTAPHID.MSG), int(CTAPHID.CBOR), int(CTAPHID.ERROR), 0x3B}


def check(data: bytes) -> None:
    """Packets of 64 bytes; CHAN in one stands for the channel that INIT gave. Every answer is whole packets."""
    sent: list[bytes] = []
    died: list[object] = []
    before, threading.excepthook = threading.excepthook, died.append
    try:
        device = CtapHid(InProcessDevice(authenticator()), sent.append, clock=lambda: 0.0)
        device.receive(BROADCAST + b"\x86\x00\x08" + bytes(PACKET_BYTES - 7))
        channel = sent[0][15:19]
        for at in range(0, len(data), PACKET_BYTES):
            packet = data[at : at + PACKET_BYTES].ljust(PACKET_BYTES, b"\0")
            device.receive(channel + packet[4:] if packet[:4] == _OURS else packet)
            device.join()
        device.close()
    finally:
        threading.excepthook = before
    assert not died, died
    _check_answers(sent)


def _check_answers(sent: list[bytes]) -> None:
    missing = 0
    for packet in sent:
        assert len(packet) == PACKET_BYTES
        if packet[4] & 0x80:
            assert missing <= 0, "an answer broke off"
            assert packet[4] & 0x7F in _COMMANDS
            missing = int.from_bytes(packet[5:7]) - INIT_DATA
        else:
            assert missing > 0, "more than was announced"
            missing -= NEXT_DATA
    assert missing <= 0


def _message(command: int, data: bytes) -> bytes:
    packets = [_OURS + bytes((0x80 | command,)) + len(data).to_bytes(2) + data[:INIT_DATA]]
    for sequence, at in enumerate(range(INIT_DATA, len(data), NEXT_DATA)):
        packets.append(_OURS + bytes((sequence,)) + data[at : at + NEXT_DATA])
    return b"".join(packet.ljust(PACKET_BYTES, b"\0") for packet in packets)


def seeds() -> Iterator[bytes]:
    """Yield messages of every kind."""
    from fuzz.targets.ctap import make_credential

    yield _message(CTAPHID.PING, bytes(range(100)))
    yield _message(CTAPHID.CBOR, b"\x04") + _message(CTAPHID.CBOR, make_credential())
    yield _message(CTAPHID.MSG, bytes.fromhex("00030000"))
    yield _message(CTAPHID.MSG, bytes.fromhex("00010000000040") + bytes(64))
    yield _message(CTAPHID.MSG, bytes.fromhex("00020300000081") + bytes(64) + b"\x40" + bytes(64))
    yield _message(CTAPHID.CANCEL, b"") + _message(0x08, b"") + BROADCAST + b"\x86\x00\x08" + bytes(57)
