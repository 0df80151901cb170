"""CTAPHID: the authenticator's commands in packets of 64 bytes (CTAP 2.1 section 11.2).

Knows nothing of USB: packets come by `receive`, and leave by the function it was given.
"""

import secrets
import time
from collections.abc import Callable
from threading import Lock, Thread
from typing import Final, NamedTuple

from fido2.hid import CAPABILITY, CTAPHID

from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.running import RunningCommand

PACKET_BYTES: Final = 64
INIT_DATA, NEXT_DATA = PACKET_BYTES - 7, PACKET_BYTES - 5
MAX_MESSAGE: Final = INIT_DATA + 128 * NEXT_DATA
BROADCAST: Final = b"\xff" * 4
TRANSACTION_SECONDS: Final = 0.5
KEEPALIVE_SECONDS: Final = 0.1
PROTOCOL_VERSION: Final = 2
_TYPE_INIT: Final = 0x80
_NOBODY: Final = bytes(4)
_NONCE_BYTES: Final = 8

INVALID_COMMAND, INVALID_LENGTH, INVALID_SEQUENCE = 0x01, 0x03, 0x04
MESSAGE_TIMEOUT, CHANNEL_BUSY, INVALID_CHANNEL, OTHER = 0x05, 0x06, 0x0B, 0x7F
"""Errors of the transport (11.2.9.1.6)."""


class _Message(NamedTuple):
    channel: bytes
    command: int
    size: int
    data: bytearray
    began: float


class CtapHid:
    """One device on one wire. `receive` is called by one thread; commands are worked on in another."""

    def __init__(
        self,
        device: InProcessDevice,
        send: Callable[[bytes], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the authenticator and where packets go; `clock` gives seconds."""
        self._device, self._send_packet, self._clock = device, send, clock
        self._channels: set[bytes] = set()
        self._coming: _Message | None = None
        self._next = 0
        self._working: tuple[bytes, RunningCommand] | None = None
        self._attendant: Thread | None = None
        self._lock = Lock()

    def receive(self, packet: bytes) -> None:
        """Take one packet; what has another size is not for this device."""
        if len(packet) != PACKET_BYTES:
            return
        channel, first = packet[:4], packet[4]
        self._expire()
        if not first & _TYPE_INIT:
            self._continued(channel, first, packet[5:])
            return
        command, size = first & ~_TYPE_INIT, int.from_bytes(packet[5:7])
        if command == CTAPHID.INIT:
            self._initialise(channel, size, packet[7:])
        elif channel not in self._channels:
            self._error(channel, INVALID_CHANNEL)
        elif command == CTAPHID.CANCEL:
            self._cancel(channel)
        elif self._is_busy(channel):
            self._error(channel, CHANNEL_BUSY)
        elif self._coming is not None:
            # A message begins before the one before it was whole.
            self._coming = None
            self._error(channel, INVALID_SEQUENCE)
        elif size > MAX_MESSAGE:
            self._error(channel, INVALID_LENGTH)
        else:
            self._coming = _Message(channel, command, size, bytearray(packet[7:]), self._clock())
            self._next = 0
            self._complete()

    def close(self) -> None:
        """Cancel what is being worked on, and wait for its end."""
        if self._working is not None:
            self._working[1].cancelled.set()
        self.join()

    def join(self) -> None:
        """Wait until nothing is being worked on."""
        if self._attendant is not None:
            self._attendant.join()

    def _expire(self) -> None:
        """Give up a message whose packets stopped coming (11.2.9.1.6: ERR_MSG_TIMEOUT)."""
        if self._coming is not None and self._clock() - self._coming.began > TRANSACTION_SECONDS:
            channel, self._coming = self._coming.channel, None
            self._error(channel, MESSAGE_TIMEOUT)

    def _is_busy(self, channel: bytes) -> bool:
        with self._lock:
            others = self._coming is not None and self._coming.channel != channel
            return others or self._working is not None

    def _initialise(self, channel: bytes, size: int, data: bytes) -> None:
        """Give out a channel, or have one begin anew (11.2.9.1.3)."""
        if size != _NONCE_BYTES:
            self._error(channel, INVALID_LENGTH)
            return
        if channel == BROADCAST:
            given = self._new_channel()
        elif channel in self._channels:
            given = channel
            if self._coming is not None and self._coming.channel == channel:
                self._coming = None
            self._cancel(channel)
        else:
            self._error(channel, INVALID_CHANNEL)
            return
        version = bytes((PROTOCOL_VERSION, 0, 1, 0, CAPABILITY.CBOR))
        self._send(channel, CTAPHID.INIT, data[:_NONCE_BYTES] + given + version)

    def _new_channel(self) -> bytes:
        while True:
            channel = secrets.token_bytes(4)
            if channel not in (BROADCAST, _NOBODY) and channel not in self._channels:
                self._channels.add(channel)
                return channel

    def _continued(self, channel: bytes, sequence: int, data: bytes) -> None:
        message = self._coming
        if message is None or message.channel != channel:
            return  # spurious packets are passed over (11.2.5.4)
        if sequence != self._next:
            self._coming = None
            self._error(channel, INVALID_SEQUENCE)
            return
        self._next += 1
        message.data.extend(data)
        self._complete()

    def _complete(self) -> None:
        message = self._coming
        if message is None or len(message.data) < message.size:
            return
        self._coming = None
        data = bytes(message.data[: message.size])
        if message.command == CTAPHID.PING:
            self._send(message.channel, CTAPHID.PING, data)
        elif message.command not in (CTAPHID.CBOR, CTAPHID.MSG):
            self._error(message.channel, INVALID_COMMAND)
        elif not data:
            self._error(message.channel, INVALID_LENGTH)
        else:
            self._begin(message.channel, message.command, data)

    def _begin(self, channel: bytes, command: int, data: bytes) -> None:
        running = RunningCommand(
            lambda begun: self._device.call(command, data, event=begun.cancelled, on_keepalive=begun.waits_for)
        )
        with self._lock:
            self._working = (channel, running)
        self._attendant = Thread(target=self._attend, args=(channel, command, running))
        self._attendant.start()

    def _attend(self, channel: bytes, command: int, running: RunningCommand) -> None:
        """Tell the host every 100 ms that its command is being worked on (11.2.9.1.7), then its answer."""
        while not running.wait(KEEPALIVE_SECONDS):
            self._send(channel, CTAPHID.KEEPALIVE, bytes((running.status,)))
        with self._lock:
            self._working = None
        answer = running.answer()
        # The host of a fault must not wait for ever.
        if answer is None:
            self._error(channel, OTHER)
        else:
            self._send(channel, command, answer)

    def _cancel(self, channel: bytes) -> None:
        with self._lock:
            if self._working is not None and self._working[0] == channel:
                self._working[1].cancelled.set()

    def _error(self, channel: bytes, code: int) -> None:
        self._send(channel, CTAPHID.ERROR, bytes((code,)))

    def _send(self, channel: bytes, command: int, data: bytes) -> None:
        head = channel + bytes((_TYPE_INIT | command,)) + len(data).to_bytes(2)
        packets = [(head + data[:INIT_DATA]).ljust(PACKET_BYTES, b"\0")]
        for sequence, at in enumerate(range(INIT_DATA, len(data), NEXT_DATA)):
            packet = channel + bytes((sequence,)) + data[at : at + NEXT_DATA]
            packets.append(packet.ljust(PACKET_BYTES, b"\0"))
        for packet in packets:
            self._send_packet(packet)
