import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store
from fidoloop.hsm.piv.store import PivKeyStore
from fidoloop.hsm.sim.factory import Factory
from fidoloop.hsm.sim.vpcd import InsertedCard
from fidoloop.pcscd import PrivatePcscd

from .quirky_card import QuirkyCard

PIN, PUK = "123456", "12345678"
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


@pytest.fixture(scope="session")
def pcscd() -> Iterator[PrivatePcscd]:
    with PrivatePcscd() as running, running.use():
        yield running


@pytest.fixture(scope="session")
def factory() -> Factory:
    return Factory.create(now=NOW)


@pytest.fixture(scope="session")
def inserted(pcscd: PrivatePcscd, factory: Factory) -> Iterator[InsertedCard]:
    """One card that stays in the reader: putting a card in takes pcscd most of a second."""
    with InsertedCard(QuirkyCard(factory.personalise(now=NOW)), port=pcscd.port) as card:
        yield card


@pytest.fixture
def desk(pcscd: PrivatePcscd, factory: Factory, inserted: InsertedCard) -> Iterator[Desk]:
    """A new card, without keys and quirks, in the reader."""
    card = inserted.card
    assert isinstance(card, QuirkyCard)
    card.renew(factory.personalise(now=NOW))
    if inserted.wait_pulled(0):
        inserted.pull()
        inserted.insert()
    yield Desk(pcscd, pcscd.readers[0], card, inserted)


@pytest.fixture
def card(desk: Desk) -> QuirkyCard:
    return desk.card


@pytest.fixture
def store(desk: Desk) -> Iterator[KeyStore]:
    with desk.open() as opened:
        yield opened
