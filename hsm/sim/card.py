"""A simulated card: what ISO/IEC 7816-4 asks of any card, around applets that are chosen by their AID."""

import abc
from collections.abc import Sequence
from typing import Final

from fidoloop.hsm.sim.apdu import ApduError, Command, StatusWord, parse_command

SELECT: Final = 0xA4
GET_RESPONSE: Final = 0xC0
MAX_COMMAND_DATA: Final = 0xFFFF
"""Bytes one chain of commands may carry."""
_BY_NAME = 0x04
_NO_ANSWER = 0x0C
_CHAINING = 0x10
_MIN_AID = 5  # a registered application provider identifier (ISO/IEC 7816-4, 8.2.1.2)
_MAX_ANSWER = 0xFFFF - 2  # what the virtual reader's frames carry, less the status word


class Applet(abc.ABC):
    """One application in the card."""

    @property
    @abc.abstractmethod
    def aid(self) -> bytes:
        """The whole application identifier, 5 to 16 bytes; the card takes its first 5 or more bytes for it too."""

    @abc.abstractmethod
    def select(self) -> bytes:
        """Return what SELECT answers; called also where this applet is selected already, which must lose no state."""

    @abc.abstractmethod
    def process(self, command: Command) -> bytes:
        """Do the command and return its data, of any length. Raises ApduError, and nothing else."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Forget what lasts for a session only: the card was powered, reset, or another applet selected."""

    def power_up(self) -> None:  # noqa: B027 - most applets have nothing that only the power keeps
        """Take notice that the card was powered or reset; called after `reset`."""


class Card:
    """A card with applets; the first is selected when the card starts. Not for more than one thread at a time."""

    def __init__(self, applets: Sequence[Applet], atr: bytes) -> None:
        """Put the applets (at least one) into a card with this answer to reset, 2 to 33 bytes."""
        self.atr: Final = atr
        self._applets = tuple(applets)
        self._selected = self._applets[0]
        self._chain: tuple[Command, bytearray] | None = None
        self._remaining = b""

    def reset(self) -> None:
        """Start anew, as by power on or a reset: no PIN is verified, the first applet is selected."""
        self._chain = None
        self._remaining = b""
        for applet in self._applets:
            applet.reset()
            applet.power_up()
        self._selected = self._applets[0]

    def transmit(self, raw: bytes) -> bytes:
        """Answer a command APDU with data and status word, at least 2 and at most 65,535 bytes."""
        remaining, self._remaining = self._remaining, b""
        chain, self._chain = self._chain, None
        try:
            command = parse_command(raw)
            _require_plain(command)
            if command.ins == GET_RESPONSE and command.cla == 0:
                return self._get_response(command, remaining)
            whole = self._put_together(chain, command)
            data = b"" if whole is None else self._dispatch(whole)
        except ApduError as error:
            return error.data + error.status.to_bytes(2)
        return self._answer(data, command)

    def _put_together(self, started: tuple[Command, bytearray] | None, command: Command) -> Command | None:
        """Add the command to the chain (ISO/IEC 7816-4, 5.3.3); return it whole, None where more is to come."""
        header = (command.cla & ~_CHAINING, command.ins, command.p1, command.p2)
        if started is not None:
            first, data = started
            if header != (first.cla & ~_CHAINING, first.ins, first.p1, first.p2):
                # Whoever comes next may begin by SELECT whatever was left unfinished.
                if command.ins != SELECT:
                    raise ApduError(StatusWord.LAST_OF_CHAIN_EXPECTED)
                data = bytearray()
        elif not command.cla & _CHAINING:
            return command
        else:
            data = bytearray()
        data += command.data
        if len(data) > MAX_COMMAND_DATA:
            raise ApduError(StatusWord.NOT_ENOUGH_MEMORY)
        if command.cla & _CHAINING:
            self._chain = (command, data)
            return None
        return Command(*header, bytes(data), command.ne, command.extended)

    def _dispatch(self, command: Command) -> bytes:
        if command.ins == SELECT and command.cla == 0:
            return self._select(command)
        return self._selected.process(command)

    def _select(self, command: Command) -> bytes:
        """Select an applet by its AID or its beginning; what was selected stays so where there is no such applet."""
        command.require(p1=_BY_NAME, p2=_NO_ANSWER if command.p2 == _NO_ANSWER else 0)
        wanted = command.data
        for applet in self._applets:
            if len(wanted) >= _MIN_AID and applet.aid.startswith(wanted):
                if applet is not self._selected:
                    self._selected.reset()
                    self._selected = applet
                answer = applet.select()
                return b"" if command.p2 == _NO_ANSWER else answer
        raise ApduError(StatusWord.NOT_FOUND)

    def _get_response(self, command: Command, remaining: bytes) -> bytes:
        command.require(p1=0, p2=0)
        command.without_data()
        if not remaining:
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
        return self._answer(remaining, command)

    def _answer(self, data: bytes, command: Command) -> bytes:
        """Give what was asked for and keep the rest; a command without Le field gets as much as its length allows.

        Hosts of FIDO applets leave Le out, and take a long answer to a command of extended length (CTAP 2.1, 11.3.4).
        """
        most = min(command.ne or (_MAX_ANSWER if command.extended else 0x100), _MAX_ANSWER)
        data, self._remaining = data[:most], data[most:]
        status = int(StatusWord.OK)
        if self._remaining:
            status = StatusWord.BYTES_REMAINING | (len(self._remaining) if len(self._remaining) < 0x100 else 0)
        return data + status.to_bytes(2)


def _require_plain(command: Command) -> None:
    """Refuse logical channels and secure messaging (ISO/IEC 7816-4, 5.4.1), which this card does not have."""
    if command.cla & 0x60:  # further interindustry classes carry channels 4 to 19; 0xFF is no class
        raise ApduError(StatusWord.CLASS_NOT_SUPPORTED)
    if command.cla & 0x03:
        raise ApduError(StatusWord.LOGICAL_CHANNEL_NOT_SUPPORTED)
    if command.cla & 0x0C:
        raise ApduError(StatusWord.SECURE_MESSAGING_NOT_SUPPORTED)
