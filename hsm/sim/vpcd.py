"""A simulated card in a virtual reader: the card's side of vsmartcard's vpcd protocol.

The card connects to the reader by TCP. Both sides send frames: two bytes of length, big-endian, and as many bytes. A
frame of one byte from the reader is a control: 0 power off, 1 power on, 2 reset, 4 "send your ATR"; any other is a
command APDU, which is answered by one frame. The reader asks for the ATR all the time to see whether the card is there.
"""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self

from fidoloop.hsm.errors import KeyStoreError
from fidoloop.hsm.sim.card import Card

DEFAULT_PORT: Final = 35963
"""Of the first reader of vpcd as Debian sets it up; the second one's is next to it."""
_POWER_OFF, _POWER_ON, _RESET, _GET_ATR = 0, 1, 2, 4
_PATIENCE = 5.0
_BROKEN_OFF = b"\x00\x02"
"""The beginning of an answer. Reset after it, the connection failed; without it, the reader sees an empty answer."""


class ReaderError(KeyStoreError):
    """No virtual reader listens, or another card is in it."""

    code = "reader"


class Fault(Enum):
    """What a card can be told to do wrong at its next command."""

    PULLED_BEFORE = auto()
    """It is pulled before it does the command."""
    PULLED_AFTER = auto()
    """It does the command and is pulled before it has answered."""
    SLOW = auto()
    """It does the command and answers later."""
    SILENT = auto()
    """It never answers; only pulling it helps."""


@dataclass(frozen=True)
class _Armed:
    fault: Fault
    ins: int | None
    seconds: float


class InsertedCard:
    """A card and the virtual reader it is put into; a context manager. The card outlives being pulled.

    The card is served by a thread of its own, which touches it only while it is inserted.
    """

    def __init__(self, card: Card, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> None:
        """Name the reader; `insert` puts the card into it."""
        self.card: Final = card
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._powered = threading.Event()
        self._pulled = threading.Event()
        self._armed: _Armed | None = None
        self._faulty = threading.Event()
        self._lock = threading.Lock()
        self.commands = 0
        """How many command APDUs the card was sent."""

    def insert(self, *, timeout: float = _PATIENCE) -> None:
        """Put the card into the reader and wait until the reader has powered it.

        Raises:
            ReaderError: no reader listens there, or it does not take the card within `timeout` seconds.
        """
        if self._thread is not None:
            raise RuntimeError("the card is in a reader")
        where = f"{self._address[0]} port {self._address[1]}"
        connection = _connect(self._address, timeout)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._powered.clear()
        self._pulled.clear()
        self.card.reset()
        self._socket = connection
        self._thread = threading.Thread(target=self._serve, args=(connection,), name="virtual card", daemon=True)
        self._thread.start()
        if not self._powered.wait(timeout):
            self.pull()
            raise ReaderError(f"the virtual reader on {where} does not power the card: is another card in it?")

    def pull(self) -> None:
        """Take the card out, in mid-command if need be; nothing where it is out already."""
        self._pulled.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._socket.shutdown(socket.SHUT_RD)  # wakes the thread, which closes it
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def wait_pulled(self, timeout: float | None = None) -> bool:
        """Wait until the card is out of its reader, pulled or thrown out; False where it is not within `timeout`."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def arm(self, fault: Fault, *, ins: int | None = None, seconds: float = 0.0) -> None:
        """Let the card do wrong once: at the next command, or at the next with this instruction byte.

        Args:
            fault: what happens.
            ins: INS of the command, None for any; of a chain each part counts.
            seconds: how much later a SLOW card answers.
        """
        with self._lock:
            self._faulty.clear()
            self._armed = _Armed(fault, ins, seconds)

    def wait_for_fault(self, timeout: float | None = None) -> bool:
        """Wait until the card began to do what `arm` told it; False where it did not within `timeout` seconds."""
        return self._faulty.wait(timeout)

    def __enter__(self) -> Self:
        self.insert()
        return self

    def __exit__(self, *_error: object) -> None:
        self.pull()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):  # the reader is gone
            buffer = bytearray()
            while not self._pulled.is_set():
                frame = _receive(connection, buffer)
                if frame is None:
                    return
                answer = self._control(frame[0]) if len(frame) == 1 else self._transmit(frame)
                if self._pulled.is_set():
                    connection.sendall(_BROKEN_OFF)
                elif answer is not None:
                    connection.sendall(len(answer).to_bytes(2) + answer)

    def _control(self, code: int) -> bytes | None:
        if code == _GET_ATR:
            return self.card.atr
        if code in (_POWER_ON, _RESET, _POWER_OFF):
            self.card.reset()
        if code == _POWER_ON:
            self._powered.set()
        return None

    def _transmit(self, command: bytes) -> bytes | None:
        armed = self._take_fault(command)
        self.commands += 1
        if armed is None:
            return self.card.transmit(command)
        if armed.fault is Fault.PULLED_BEFORE:
            self._pulled.set()
            return None
        if armed.fault is Fault.SILENT:
            self._pulled.wait()
            return None
        answer = self.card.transmit(command)
        if armed.fault is Fault.PULLED_AFTER:
            self._pulled.set()
            return None
        self._pulled.wait(armed.seconds)
        return answer

    def _take_fault(self, command: bytes) -> _Armed | None:
        with self._lock:
            armed = self._armed
            if armed is None or (armed.ins is not None and command[1:2] != bytes([armed.ins])):
                return None
            self._armed = None
            self._faulty.set()
            return armed


def look_for_reader(port: int, *, host: str = "127.0.0.1", timeout: float = _PATIENCE) -> None:
    """See that a virtual reader listens, without a card. Raises ReaderError."""
    _connect((host, port), timeout).close()


def _connect(address: tuple[str, int], timeout: float) -> socket.socket:
    try:
        connection = socket.create_connection(address, timeout)
    except OSError as error:
        raise ReaderError(
            f"no virtual reader listens on {address[0]} port {address[1]}: {error.strerror or error} (is pcscd"
            " running, with the driver vpcd? Debian: apt install pcscd vsmartcard-vpcd)"
        ) from None
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return connection


def _receive(connection: socket.socket, buffer: bytearray) -> bytes | None:
    """Return the next frame's content, None where the reader hung up."""
    while len(buffer) < 2 or len(buffer) < 2 + int.from_bytes(buffer[:2]):
        # The reader sends length and content apart: without an immediate acknowledgement each command takes 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = connection.recv(0x10002)
        if not part:
            return None
        buffer += part
    end = 2 + int.from_bytes(buffer[:2])
    frame = bytes(buffer[2:end])
    del buffer[:end]
    return frame
