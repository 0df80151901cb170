"""Changing the PIN of a card, and unblocking it; neither needs the PIN to be verified first."""

from collections.abc import Callable

from fidoloop.hsm.errors import PinIncorrect
from fidoloop.hsm.piv.application import PivApplication
from fidoloop.hsm.piv.card import padded_pin, release
from fidoloop.hsm.piv.discovery import lease_card
from fidoloop.hsm.piv.uri import PivUri

_MIN_PIN = 6


def change_pin(uri: PivUri, old: str, new: str) -> None:
    """Change the PIN. Raises PinIncorrect, PinLocked, KeyStoreError."""
    secrets = padded_pin(old), _new_pin(new)
    _with_card(uri, "changing the PIN", lambda application: application.change_pin(*secrets))


def unblock_pin(uri: PivUri, puk: str, new: str) -> None:
    """Set a new PIN with the PUK. Raises PinIncorrect, PinLocked, KeyStoreError."""
    secrets = padded_pin(puk), _new_pin(new)
    _with_card(uri, "unblocking the PIN", lambda application: application.unblock_pin(*secrets))


def _with_card(uri: PivUri, doing: str, operation: Callable[[PivApplication], None]) -> None:
    card = lease_card(uri)
    try:
        card.run(doing, operation, fresh=True)
    finally:
        release(card)


def _new_pin(text: str) -> bytes:
    if len(text) < _MIN_PIN:
        raise PinIncorrect("the new PIN is too short: a PIV card's has six to eight characters")
    return padded_pin(text)
