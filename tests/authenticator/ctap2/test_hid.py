"""CTAPHID over a socket pair, python-fido2's own driver at the other end; its refusals packet by packet."""

import queue
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import Ctap1
from fido2.ctap2 import Ctap2  # type: ignore[attr-defined]  # the package's name, as its users import it
from fido2.hid import CTAPHID, CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor

from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.hid import (
    BROADCAST,
    CHANNEL_BUSY,
    INVALID_CHANNEL,
    INVALID_COMMAND,
    INVALID_LENGTH,
    INVALID_SEQUENCE,
    MAX_MESSAGE,
    MESSAGE_TIMEOUT,
    OTHER,
    PACKET_BYTES,
    TRANSACTION_SECONDS,
    CtapHid,
)
from fidoloop.authenticator.user_verification import VerificationRequest
from fidoloop.protocol.uaf.registry import UserVerification
from tests.authenticator.ctap2.lab import ERR, ES256, HASH, RP, USER, Lab, public_key

NONCE = bytes(range(8))
GET_INFO = b"\x04"


class SocketConnection(CtapHidConnection):
    """The host's end of the wire."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.cancelled = threading.Event()
        """The device has had a CTAPHID_CANCEL."""

    def read_packet(self) -> bytes:
        return self._end.recv(PACKET_BYTES)

    def write_packet(self, data: bytes) -> None:
        self._end.send(data)

    def close(self) -> None:
        self._end.close()


@pytest.fixture
def connection(lab: Lab) -> Iterator[SocketConnection]:
    """Plug the lab's authenticator into one end of a socket pair that keeps packets whole."""
    host, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connected = SocketConnection(host)

    def send(packet: bytes) -> None:
        device.send(packet)

    hid = CtapHid(InProcessDevice(lab.authenticator), send)

    def serve() -> None:
        while packet := device.recv(PACKET_BYTES):
            hid.receive(packet)
            if packet[4] == 0x80 | CTAPHID.CANCEL:
                connected.cancelled.set()

    thread = threading.Thread(target=serve)
    thread.start()
    yield connected
    host.shutdown(socket.SHUT_RDWR)
    thread.join()
    hid.close()
    host.close()
    device.close()


def plug(connection: SocketConnection) -> CtapHidDevice:
    descriptor = HidDescriptor("socket", 0x1209, 0xF1D0, PACKET_BYTES, PACKET_BYTES, "fidoloop", None)
    return CtapHidDevice(descriptor, connection)


def test_a_strangers_driver_registers_and_logs_in_by_ctap2_and_u2f(connection: SocketConnection) -> None:
    device = plug(connection)
    ctap = Ctap2(device)
    made = ctap.make_credential(HASH, RP, USER, ES256, options={"rk": True})
    ctap.get_assertion(RP["id"], HASH).verify(HASH, public_key(made))
    assert ctap.info.versions == ["U2F_V2", "FIDO_2_0", "FIDO_2_1"]
    u2f = Ctap1(device)
    registered = u2f.register(HASH, HASH)
    registered.verify(HASH, HASH)
    u2f.authenticate(HASH, HASH, registered.key_handle).verify(HASH, HASH, registered.public_key)


@pytest.mark.parametrize("size", [0, 1, 57, 58, 116, 117, 1024, MAX_MESSAGE])
def test_messages_of_every_size_come_back_whole(connection: SocketConnection, size: int) -> None:
    message = bytes(at % 251 for at in range(size))
    assert plug(connection).ping(message) == message


def test_each_host_has_a_channel_and_can_begin_anew_on_it(wire: "Wire") -> None:
    first, second = wire.open(), wire.open()
    assert first != second
    wire.write(first, 0x80 | CTAPHID.PING, struct.pack(">H", 100) + bytes(57))
    wire.write(first, 0x80 | CTAPHID.INIT, struct.pack(">H", 8) + NONCE)
    assert wire.read(first, CTAPHID.INIT)[:12] == NONCE + first
    wire.ping(first)


def test_a_command_is_called_off_while_the_user_is_asked(
    lab: Lab, connection: SocketConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(_request: VerificationRequest) -> UserVerification:
        assert connection.cancelled.wait(10)
        return UserVerification.PRESENCE

    monkeypatch.setattr(lab.user, "verify", verify)
    called_off = threading.Event()
    told: list[int] = []

    def on_keepalive(status: int) -> None:
        told.append(status)
        if status == STATUS.UPNEEDED:
            called_off.set()

    with pytest.raises(CtapError) as caught:
        Ctap2(plug(connection)).make_credential(HASH, RP, USER, ES256, event=called_off, on_keepalive=on_keepalive)
    assert caught.value.code is ERR.KEEPALIVE_CANCEL
    assert told[-1] == STATUS.UPNEEDED
    assert lab.keys() == 0


class Wire:
    """The host's side packet by packet, on a device whose clock stands still until it is told."""

    def __init__(self, lab: Lab) -> None:
        self.now = 0.0
        self.sent: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.hid = CtapHid(InProcessDevice(lab.authenticator), self.sent.put, clock=lambda: self.now)

    def write(self, channel: bytes, first: int, rest: bytes) -> None:
        self.hid.receive((channel + bytes((first,)) + rest).ljust(PACKET_BYTES, b"\0"))

    def read(self, channel: bytes, command: int) -> bytes:
        packet = self.sent.get(timeout=10)
        while packet[4] == 0x80 | CTAPHID.KEEPALIVE:
            packet = self.sent.get(timeout=10)
        assert packet[:4] == channel
        assert packet[4] == 0x80 | command
        return packet[7 : 7 + int.from_bytes(packet[5:7])]

    def open(self) -> bytes:
        self.write(BROADCAST, 0x80 | CTAPHID.INIT, struct.pack(">H", 8) + NONCE)
        answer = self.read(BROADCAST, CTAPHID.INIT)
        assert answer[:8] == NONCE
        return answer[8:12]

    def ping(self, channel: bytes) -> None:
        self.write(channel, 0x80 | CTAPHID.PING, struct.pack(">H", 4) + b"ping")
        assert self.read(channel, CTAPHID.PING) == b"ping"

    def refused(self, channel: bytes) -> int:
        (code,) = self.read(channel, CTAPHID.ERROR)
        return code


@pytest.fixture
def wire(lab: Lab) -> Wire:
    return Wire(lab)


@pytest.mark.parametrize(
    ("command", "size", "code"),
    [
        (CTAPHID.WINK, 0, INVALID_COMMAND),
        (CTAPHID.LOCK, 1, INVALID_COMMAND),
        (0x7E, 0, INVALID_COMMAND),
        (CTAPHID.CBOR, 0, INVALID_LENGTH),
        (CTAPHID.MSG, 0, INVALID_LENGTH),
        (CTAPHID.PING, MAX_MESSAGE + 1, INVALID_LENGTH),
        (CTAPHID.INIT, 7, INVALID_LENGTH),
    ],
)
def test_what_the_device_does_not_take_is_refused(wire: Wire, command: int, size: int, code: int) -> None:
    channel = wire.open()
    wire.write(channel, 0x80 | command, struct.pack(">H", size))
    assert wire.refused(channel) == code
    wire.ping(channel)


@pytest.mark.parametrize("command", [CTAPHID.PING, CTAPHID.INIT, CTAPHID.CBOR])
@pytest.mark.parametrize("channel", [bytes(4), b"\1\2\3\4"])
def test_a_channel_that_was_not_given_out_is_refused(wire: Wire, channel: bytes, command: int) -> None:
    wire.write(channel, 0x80 | command, struct.pack(">H", 8) + NONCE)
    assert wire.refused(channel) == INVALID_CHANNEL


@pytest.mark.parametrize("first", [1, 0x7F, 0x80 | CTAPHID.PING])
def test_a_packet_out_of_its_place_ends_the_message(wire: Wire, first: int) -> None:
    channel = wire.open()
    wire.write(channel, 0x80 | CTAPHID.PING, struct.pack(">H", 100) + bytes(57))
    wire.write(channel, first, bytes(59))
    assert wire.refused(channel) == INVALID_SEQUENCE
    wire.ping(channel)


def test_another_host_waits_while_a_message_comes(wire: Wire) -> None:
    first, second = wire.open(), wire.open()
    wire.write(first, 0x80 | CTAPHID.PING, struct.pack(">H", 60) + b"a" * 57)
    wire.write(second, 0x80 | CTAPHID.PING, struct.pack(">H", 1) + b"b")
    assert wire.refused(second) == CHANNEL_BUSY
    wire.write(second, 0, b"b" * 59)  # passed over: no message of this host's
    wire.write(first, 0, b"a" * 3)
    assert wire.sent.get(timeout=10)[7:] + wire.sent.get(timeout=10)[5:8] == b"a" * 60


def test_a_message_that_stops_coming_is_given_up(wire: Wire) -> None:
    first, second = wire.open(), wire.open()
    wire.write(first, 0x80 | CTAPHID.PING, struct.pack(">H", 60) + bytes(57))
    wire.now = TRANSACTION_SECONDS + 0.01
    wire.write(second, 0x80 | CTAPHID.PING, struct.pack(">H", 4) + b"ping")
    assert wire.refused(first) == MESSAGE_TIMEOUT
    assert wire.read(second, CTAPHID.PING) == b"ping"


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_packets_of_another_size_are_passed_over(wire: Wire, size: int) -> None:
    wire.hid.receive(bytes(size))
    assert wire.sent.empty()


def test_a_device_that_is_busy_says_so(wire: Wire, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = wire.open(), wire.open()
    asked, go_on = threading.Event(), threading.Event()

    def verify(_request: VerificationRequest) -> UserVerification:
        asked.set()
        assert go_on.wait(10)
        return UserVerification.PRESENCE

    monkeypatch.setattr(lab.user, "verify", verify)
    wire.write(first, 0x80 | CTAPHID.CBOR, struct.pack(">H", 1) + b"\x0b")  # authenticatorSelection
    assert asked.wait(10)
    wire.write(second, 0x80 | CTAPHID.CBOR, struct.pack(">H", 1) + GET_INFO)
    assert wire.refused(second) == CHANNEL_BUSY
    wire.write(second, 0x80 | CTAPHID.CANCEL, struct.pack(">H", 0))  # not this host's to call off
    go_on.set()
    assert wire.read(first, CTAPHID.CBOR) == b"\0"
    wire.hid.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_device_is_told_and_goes_on(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = wire.open()
    with monkeypatch.context() as broken:
        broken.setattr(InProcessDevice, "call", lambda *_arguments, **_options: 1 / 0)
        wire.write(channel, 0x80 | CTAPHID.CBOR, struct.pack(">H", 1) + GET_INFO)
        assert wire.refused(channel) == OTHER
        wire.hid.close()
    wire.ping(channel)
