"""Events of /dev/uhid, a socket pair in the kernel's place."""

import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fido2.hid import CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor, parse_report_descriptor

from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.hid import CtapHid
from fidoloop.hsm.sim.uhid import CREATE2, DATA_BYTES, DESTROY, EVENT_BYTES, INPUT2, OUTPUT, UhidDevice, UsbError

START = 2


class Kernel(CtapHidConnection):
    """The kernel's end: the layout of its events is written here a second time, from linux/uhid.h."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def event(self) -> tuple[int, bytes]:
        event = self._end.recv(2 * EVENT_BYTES)
        assert len(event) == EVENT_BYTES
        return int.from_bytes(event[:4], "little"), event[4:]

    def read_packet(self) -> bytes:
        kind, rest = self.event()
        assert kind == INPUT2
        return rest[2 : 2 + int.from_bytes(rest[:2], "little")]

    def write_packet(self, data: bytes) -> None:
        numbered = (b"\0" + data).ljust(DATA_BYTES, b"\0")
        self._end.send((struct.pack("<I", OUTPUT) + numbered + struct.pack("<HB", 65, 1)).ljust(EVENT_BYTES, b"\0"))

    def tell(self, kind: int, size: int = EVENT_BYTES) -> None:
        self._end.send(kind.to_bytes(4, "little").ljust(size, b"\0"))

    def close(self) -> None:
        self._end.shutdown(socket.SHUT_WR)


@pytest.fixture
def kernel(fidoloop_security_key: InProcessDevice) -> Iterator[Kernel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    device = UhidDevice(os.dup(theirs.fileno()), "a security key")
    hid = CtapHid(fidoloop_security_key, device.send)
    thread = threading.Thread(target=device.serve, args=(hid.receive,))
    thread.start()
    kernel = Kernel(ours)
    yield kernel
    kernel.close()
    thread.join()
    hid.close()
    device.close()
    assert kernel.event()[0] == DESTROY
    ours.close()
    theirs.close()


def test_a_device_is_made_as_the_kernel_lays_it_out(kernel: Kernel) -> None:
    kind, rest = kernel.event()
    assert kind == CREATE2
    assert rest[:128].rstrip(b"\0") == b"a security key"
    size, bus, vendor, product = struct.unpack_from("<HHII", rest, 256)
    assert (bus, vendor, product) == (3, 0x1209, 0xF1D0)
    assert parse_report_descriptor(rest[276 : 276 + size]) == (64, 64)


def test_a_strangers_driver_speaks_with_it_through_events(kernel: Kernel) -> None:
    kernel.event()
    kernel.tell(START)
    kernel.tell(OUTPUT, size=4)  # cut off: nothing in it
    device = CtapHidDevice(HidDescriptor("uhid", 0x1209, 0xF1D0, 64, 64, None, None), kernel)
    message = bytes(range(200))
    assert device.ping(message) == message


def test_without_the_kernels_file_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsbError, match=str(tmp_path / "uhid")):
        UhidDevice.plug("a security key", tmp_path / "uhid")
