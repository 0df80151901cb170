"""A simulated card that knows less than it could, answers wrongly, and writes down what it is sent."""

from collections.abc import Callable

from fidoloop.hsm.sim.card import Card
from fidoloop.hsm.sim.piv.state import CardState, StateStore
from fidoloop.hsm.sim.piv_card import piv_card

VERIFY, CHANGE, UNBLOCK, SELECT = 0x20, 0x24, 0x2C, 0xA4
GENERATE, AUTHENTICATE, GET_DATA, PUT_DATA = 0x47, 0x87, 0xCB, 0xDB
DELETE, METADATA, SERIAL, ATTEST, VERSION = 0xF6, 0xF7, 0xF8, 0xF9, 0xFD
PLAIN = {DELETE, METADATA, SERIAL, ATTEST, VERSION}
"""The extensions that a card of the bare standard does not know."""


class QuirkyCard(Card):
    """A PIV card: `unknown` instructions are refused (6D00); `answers` replaces answers, by instruction."""

    def __init__(self, state: CardState) -> None:
        self.renew(state)
        super().__init__(self._inner._applets, self._inner.atr)

    def renew(self, state: CardState) -> None:
        """Become a new card without quirks, in the same reader."""
        self.state = state
        self._inner = piv_card(StateStore(state))
        self.unknown: set[int] = set()
        self.answers: dict[int, Callable[[bytes, Callable[[], bytes]], bytes]] = {}
        """Called with the command, and with how to have the card do it."""
        self.log: list[bytes] = []

    def reset(self) -> None:
        self._inner.reset()

    def transmit(self, raw: bytes) -> bytes:
        self.log.append(raw)
        instruction = raw[1]
        if instruction in self.unknown:
            return b"\x6d\x00"
        answer = self.answers.get(instruction)
        if answer is not None:
            return answer(raw, lambda: self._inner.transmit(raw))
        return self._inner.transmit(raw)

    def sent(self, instruction: int) -> list[bytes]:
        """Return the commands with this instruction, in the order they came."""
        return [command for command in self.log if command[1] == instruction]

    def pins_sent(self) -> list[bytes]:
        """Return the PINs that were sent to be verified."""
        return [command[5:] for command in self.sent(VERIFY) if len(command) > 5]
