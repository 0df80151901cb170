"""The authenticator in this process, as python-fido2's clients take devices."""

from collections.abc import Callable, Iterator
from threading import Event

from fido2.ctap import STATUS, CtapDevice, CtapError
from fido2.hid import CAPABILITY, CTAPHID

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.u2f import process_u2f
from fidoloop.hsm.sim.apdu import ApduError, StatusWord, parse_command

_EMPTY_DATA = b"\0\0\0"


class InProcessDevice(CtapDevice):
    """A `CtapDevice` without a transport; what CTAPHID_CBOR and CTAPHID_MSG carry is handed over."""

    def __init__(self, authenticator: Authenticator) -> None:
        """Take an authenticator that has power."""
        self._authenticator = authenticator

    @property
    def capabilities(self) -> int:
        """CBOR, and CTAP1 by MSG."""
        return CAPABILITY.CBOR

    def connect(self) -> None:
        """Take the power away and give it back, as pulling a device and plugging it in does."""
        self._authenticator.power_cycle()

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[STATUS], None] | None = None,
    ) -> bytes:
        """Do a command; while the user is asked, `on_keepalive` is told once. Raises CtapError(INVALID_COMMAND)."""

        def on_asking() -> None:
            if on_keepalive is not None:
                on_keepalive(STATUS.UPNEEDED)

        if cmd == CTAPHID.CBOR:
            return self._authenticator.process(data, cancelled=event, on_asking=on_asking)
        if cmd != CTAPHID.MSG:
            raise CtapError(ERR.INVALID_COMMAND)
        if data[4:7] == _EMPTY_DATA:  # clients write a length of zero for no data, which ISO/IEC 7816-3 does not have
            data = data[:4] + (b"\0" + data[7:] if data[7:] else b"")
        try:
            answer = process_u2f(self._authenticator, parse_command(data), cancelled=event, on_asking=on_asking)
        except ApduError as error:
            return error.status.to_bytes(2, "big")
        return answer + StatusWord.OK.to_bytes(2, "big")

    @classmethod
    def list_devices(cls) -> Iterator[CtapDevice]:
        """Yield nothing: a device in this process is known to who made it."""
        return iter(())
