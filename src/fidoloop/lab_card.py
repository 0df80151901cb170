"""A virtual PIV card in a reader of a pcscd of one's own: what tests of key stores and tools use."""

import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from fidoloop.hsm.sim.card import Applet
from fidoloop.hsm.sim.factory import FIRMWARE, Factory
from fidoloop.hsm.sim.piv.state import StateStore
from fidoloop.hsm.sim.piv_card import piv_card
from fidoloop.hsm.sim.readers import wait_for_card
from fidoloop.hsm.sim.vpcd import InsertedCard
from fidoloop.pcscd import PrivatePcscd

PIN: Final = "123456"
PUK: Final = "12345678"
MANAGEMENT_KEY: Final = "010203040506070801020304050607080102030405060708"
"""3DES, hexadecimal; like PIN and PUK that of any new PIV card."""


class LabCard:
    """A new card; a context manager that has it in its reader.

    `insert` and `pull` wait until PC/SC knows. Everything a card can do wrong is in `inserted.arm`.
    """

    def __init__(
        self,
        pcscd: PrivatePcscd,
        factory: Factory,
        *applets: Applet,
        slot: int = 0,
        firmware: tuple[int, int, int] = FIRMWARE,
        yubikey_shape: bool = False,
        directory: Path | None = None,
    ) -> None:
        """Make a card for reader `slot`; one that is in `directory` already is taken from there."""
        self._pcscd = pcscd
        self._slot = slot
        existing = None if directory is None else StateStore.open(directory)
        if existing is None:
            now = datetime.datetime.now(datetime.UTC)
            state = factory.personalise(now=now, firmware=firmware, yubikey_shape=yubikey_shape)
            existing = StateStore(state, directory)
        self.store: Final = existing
        self.inserted: Final = InsertedCard(piv_card(existing, *applets), port=pcscd.port + slot)

    @property
    def reader(self) -> str:
        """The reader's name in PC/SC; this process must use this pcscd (see there)."""
        return self._pcscd.readers[self._slot]

    @property
    def uri(self) -> str:
        """The card as a key store, without a PIN."""
        return f"piv:reader={quote(self.reader, safe='')}"

    def insert(self) -> None:
        """Put the card into the reader and wait until PC/SC sees it; what was in before must be seen to be gone."""
        wait_for_card(self.reader, present=False)
        self.inserted.insert()
        wait_for_card(self.reader, present=True)

    def pull(self) -> None:
        """Take the card out of the reader and wait until PC/SC sees that."""
        self.inserted.pull()
        wait_for_card(self.reader, present=False)

    def __enter__(self) -> Self:
        self.insert()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pull()
        self.store.close()
