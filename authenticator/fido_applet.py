"""The CTAP2 authenticator as a contactless card's applet (CTAP 2.1, section 11.3)."""

from typing import Final

from fido2.ctap import STATUS

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.errors import ERR
from fidoloop.authenticator.ctap2.running import RunningCommand
from fidoloop.authenticator.ctap2.u2f import VERSION_TEXT, process_u2f
from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord
from fidoloop.hsm.sim.card import Applet

AID: Final = bytes.fromhex("A0000006472F0001")
NFCCTAP_MSG, NFCCTAP_GETRESPONSE, NFCCTAP_CONTROL = 0x10, 0x11, 0x12
_PROPRIETARY: Final = 0x80
_WITHOUT_U2F: Final = b"FIDO_2_0"
_POLLS: Final = 0x80
"""P1 of NFCCTAP_MSG: the host asks by NFCCTAP_GETRESPONSE for what takes longer."""
_CANCEL: Final = 0x11
_END: Final = 0x01
_UPDATE: Final = 0x9100
_PATIENCE: Final = 0.1
"""Seconds after which a host that polls is told that its command goes on."""


class FidoApplet(Applet):
    """CTAP2 by NFCCTAP_MSG, and U2F APDUs.

    A command that waits for its user goes on in a thread of its own while the host polls.
    """

    def __init__(self, authenticator: Authenticator, *, patience: float = _PATIENCE) -> None:
        """Take an authenticator; `patience` is how many seconds a polling host waits for each answer."""
        self._authenticator = authenticator
        self._patience = patience
        self._running: RunningCommand | None = None
        self._powered_up = False

    @property
    def aid(self) -> bytes:
        """The AID of FIDO authenticators."""
        return AID

    def select(self) -> bytes:
        """Answer with the version of U2F where that is here, too; getInfo tells of CTAP2."""
        return VERSION_TEXT if self._authenticator.takes_u2f else _WITHOUT_U2F

    def reset(self) -> None:
        """Call off what was not finished."""
        if self._running is not None:
            self._running.cancelled.set()

    def power_up(self) -> None:
        """Forget what only the power keeps; where a command is not over yet, once it is."""
        self._powered_up = True
        self._busy()

    def process(self, command: Command) -> bytes:
        """Do a command of CTAP2 or U2F."""
        if command.cla != _PROPRIETARY:
            return self._u2f(command)
        if command.ins == NFCCTAP_MSG:
            return self._message(command)
        if command.ins == NFCCTAP_GETRESPONSE:
            return self._get_response(command)
        if command.ins == NFCCTAP_CONTROL:
            command.require(p1=_END, p2=0)
            self.reset()
            return b""
        raise ApduError(StatusWord.INSTRUCTION_NOT_SUPPORTED)

    def _message(self, command: Command) -> bytes:
        command.require(p2=0)
        if command.p1 not in (0, _POLLS):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        if self._busy():
            return bytes((ERR.CHANNEL_BUSY,))
        if command.p1 != _POLLS:
            return self._authenticator.process(command.data)
        self._running = RunningCommand(
            lambda running: self._authenticator.process(
                command.data, cancelled=running.cancelled, on_asking=lambda: running.waits_for(STATUS.UPNEEDED)
            )
        )
        return self._answer(self._running)

    def _get_response(self, command: Command) -> bytes:
        command.require(p2=0)
        if command.p1 not in (0, _CANCEL):
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        running = self._running
        if running is None or running.cancelled.is_set():
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
        if command.p1 == _CANCEL:
            running.cancelled.set()
            # Whoever is asked may still be reading the question: the host does not wait for that.
            return _answer_of(running) if running.wait(self._patience) else bytes((ERR.KEEPALIVE_CANCEL,))
        return self._answer(running)

    def _answer(self, running: RunningCommand) -> bytes:
        if not running.wait(self._patience):
            raise ApduError(_UPDATE, bytes((running.status,)))
        self._running = None
        return _answer_of(running)

    def _u2f(self, command: Command) -> bytes:
        if self._busy():
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
        return process_u2f(self._authenticator, command)

    def _busy(self) -> bool:
        """Tell whether an earlier command is not over; where none is, the power-up is made up for."""
        if self._running is not None and not self._running.is_over:
            return True
        self._running = None
        if self._powered_up:
            self._powered_up = False
            self._authenticator.power_cycle()
        return False


def _answer_of(running: RunningCommand) -> bytes:
    answer = running.answer()
    return bytes((ERR.OTHER,)) if answer is None else answer
