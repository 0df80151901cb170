"""Finding PIV cards: which readers there are, and which card a URI means."""

from collections.abc import Sequence
from dataclasses import dataclass

from fidoloop.hsm.errors import KeyStoreError, TokenAbsent, TokenAmbiguous
from fidoloop.hsm.piv.card import Card, Identity, lease, release
from fidoloop.hsm.piv.pcsc import ConnectionLost, Context
from fidoloop.hsm.piv.uri import PivUri


@dataclass(frozen=True)
class FoundCard:
    """A reader, and the PIV card in it; `identity` is None, and `problem` says why, where none can be used there."""

    reader: str
    identity: Identity | None
    problem: str = ""

    @property
    def uri(self) -> str:
        """The URI of this card, without a PIN."""
        serial = self.identity.serial if self.identity is not None else ""
        return str(PivUri(reader=self.reader, serial=serial or None))


def readers() -> list[str]:
    """Return the names of all readers. Raises ModuleError, TokenAbsent where there is no PC/SC."""
    context = Context()
    try:
        return context.readers()
    finally:
        context.release()


def with_card(named: Sequence[str]) -> list[str]:
    """Return those of the readers `named` with a card in them. Raises ModuleError, TokenAbsent."""
    context = Context()
    try:
        return context.occupied(named)
    except ConnectionLost as lost:
        raise lost.error from None
    finally:
        context.release()


def find_cards() -> list[FoundCard]:
    """Look into every reader. Raises ModuleError, TokenAbsent where there is no PC/SC."""
    return [_look(reader) for reader in readers()]


def lease_card(uri: PivUri) -> Card:
    """Return the one card a URI means, selected and known; `release` gives it back.

    Raises:
        TokenAbsent: no such reader or card; TokenAmbiguous: more than one; ModuleError, DeviceTimeout.
    """
    there = readers()
    part = uri.reader or ""
    named = [name for name in there if name == part] or [name for name in there if part in name]
    if not named:
        raise TokenAbsent(f"no such reader; there are: {', '.join(map(repr, there)) or 'none'}")
    if len(named) == 1:
        card = _opened(named[0])
        if uri.serial not in (None, _serial(card)):
            found = _serial(card)
            release(card)
            raise TokenAbsent(f"the card in reader {named[0]!r} has serial {found!r}, not {uri.serial!r}")
        return card
    matching = [
        found
        for found in map(_look, named)
        if found.identity is not None and uri.serial in (None, found.identity.serial)
    ]
    if not matching:
        raise TokenAbsent(f"no PIV card {uri.describe()}")
    if len(matching) > 1:
        choices = ", ".join(found.uri for found in matching)
        raise TokenAmbiguous(f"{len(matching)} cards match: name one of {choices}")
    return _opened(matching[0].reader)


def _look(reader: str) -> FoundCard:
    try:
        card = _opened(reader)
    except KeyStoreError as error:
        return FoundCard(reader, None, str(error))
    try:
        return FoundCard(reader, card.identity)
    finally:
        release(card)


def _opened(reader: str) -> Card:
    card = lease(reader)
    try:
        card.run("selecting PIV", lambda _: None)
    except BaseException:
        release(card)
        raise
    return card


def _serial(card: Card) -> str:
    return card.identity.serial if card.identity is not None else ""
