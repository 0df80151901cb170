"""A FIDO device on USB made by a program, through Linux's /dev/uhid (the kernel's Documentation/hid/uhid.rst)."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from fidoloop.hsm.errors import KeyStoreError

DEVICE: Final = Path("/dev/uhid")
PACKET_BYTES: Final = 64
EVENT_BYTES: Final = 4376
CREATE2, DESTROY, INPUT2, OUTPUT = 11, 1, 12, 6
DATA_BYTES: Final = 4096
_BUS_USB: Final = 3
_VENDOR, _PRODUCT = 0x1209, 0xF1D0
"""Of pid.codes, whose numbers are for open projects."""
REPORT_DESCRIPTOR: Final = bytes.fromhex("06d0f10901a1010920150026ff007508954081020921150026ff00750895409102c0")
"""Usage page FIDO alliance, usage CTAPHID; reports of 64 bytes each way (CTAP 2.1 section 11.2.8.1)."""


class UsbError(KeyStoreError):
    """There is no /dev/uhid, or this user may not open it."""

    code = "usb"


class UhidDevice:
    """A device that programs find as they find any security key on USB, until it is closed."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Make the device by an open /dev/uhid, which is its from now on; `name` is what hosts show."""
        self._file = descriptor
        texts = struct.pack("<128s64s64s", name.encode()[:127], b"fidoloop", b"")
        numbers = struct.pack("<HHIIII", len(REPORT_DESCRIPTOR), _BUS_USB, _VENDOR, _PRODUCT, 1, 0)
        self._write(struct.pack("<I", CREATE2) + texts + numbers + REPORT_DESCRIPTOR)

    @classmethod
    def plug(cls, name: str, path: Path = DEVICE) -> Self:
        """Open /dev/uhid and make the device.

        Raises:
            UsbError: there is no such file, or it is not this user's to open.
        """
        try:
            return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC), name)
        except OSError as error:
            raise UsbError(f"no device on USB can be made with {path}: {error.strerror}") from error

    def send(self, packet: bytes) -> None:
        """Send one packet to the host."""
        self._write(struct.pack("<IH", INPUT2, len(packet)) + packet)

    def serve(self, receive: Callable[[bytes], None]) -> None:
        """Hand over the packets that the host sends, until the other end is gone."""
        while event := os.read(self._file, EVENT_BYTES):
            packet = packet_of(event)
            if packet is not None:
                receive(packet)

    def close(self) -> None:
        """Take the device away."""
        self._write(struct.pack("<I", DESTROY))
        os.close(self._file)

    def _write(self, event: bytes) -> None:
        os.write(self._file, event.ljust(EVENT_BYTES, b"\0"))


def packet_of(event: bytes) -> bytes | None:
    """Return the packet that an event brings from the host; None for an event of another kind."""
    if len(event) < 4 + DATA_BYTES + 2 or int.from_bytes(event[:4], "little") != OUTPUT:
        return None
    size = int.from_bytes(event[4 + DATA_BYTES :][:2], "little")
    data = event[4 : 4 + min(size, DATA_BYTES)]
    # The kernel writes a zero where a report would have its number; these have none.
    return data[1:] if len(data) == PACKET_BYTES + 1 else data
