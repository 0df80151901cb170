import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.piv.store import PivKeyStore
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.readers import wait_for_card
from fidoloop.hsm.sim.vpcd import InsertedCard, ReaderError
from fidoloop.lab_card import PIN
from fidoloop.pcscd import PrivatePcscd

from .quirky_card import QuirkyCard

NOW = datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Desk:
    """A card in a virtual reader, and how to name it."""

    pcscd: PrivatePcscd
    reader: str
    card: QuirkyCard
    inserted: InsertedCard

    def uri(self, *, pin: str | None = PIN, key: bool = True) -> str:
        query = ([f"pin-value={pin}"] if pin is not None else []) + (["management-key=default"] if key else [])
        return f"piv:reader={quote(self.reader)}" + ("?" + "&".join(query) if query else "")

    def open(self) -> PivKeyStore:
        store = open_key_store(self.uri())
        assert isinstance(store, PivKeyStore)
        return store


@pytest.fixture(scope="module")
def inserted(fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory) -> Iterator[InsertedCard]:
    """One card that stays in the reader for a while: putting a card in takes pcscd most of a second."""
    reader = fidoloop_pcscd.readers[0]
    wait_for_card(reader, present=False)
    card = QuirkyCard(fidoloop_card_factory.personalise(now=NOW))
    with InsertedCard(card, port=fidoloop_pcscd.port) as inserted:
        wait_for_card(reader, present=True)
        yield inserted
    wait_for_card(reader, present=False)


def insert(inserted: InsertedCard) -> None:
    """Put the card in; again where pcscd, which looks two or three times a second, took it for the one just pulled."""
    try:
        inserted.insert(timeout=1)
    except ReaderError:
        inserted.insert()


@pytest.fixture
def desk(fidoloop_pcscd: PrivatePcscd, fidoloop_card_factory: Factory, inserted: InsertedCard) -> Desk:
    """A new card, without keys and quirks, in the reader."""
    card = inserted.card
    assert isinstance(card, QuirkyCard)
    card.renew(fidoloop_card_factory.personalise(now=NOW))
    if inserted.wait_pulled(0):  # a test pulled it
        inserted.pull()
        insert(inserted)
        wait_for_card(fidoloop_pcscd.readers[0], present=True)
    return Desk(fidoloop_pcscd, fidoloop_pcscd.readers[0], card, inserted)


@pytest.fixture
def card(desk: Desk) -> QuirkyCard:
    return desk.card


@pytest.fixture
def store(desk: Desk) -> Iterator[KeyStore]:
    with desk.open() as opened:
        yield opened
