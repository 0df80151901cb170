"""`fidoloop keys change-pin` and `keys unblock`: the PIN of a PIV card."""

from typing import Annotated

import typer

from fidoloop.cli.common import Json, show
from fidoloop.cli.key_store import ask_secret
from fidoloop.hsm.open import change_pin, parse_key_store_uri, unblock_pin

_NEW_PIN = "FIDOLOOP_NEW_PIN"
CardUri = Annotated[str, typer.Argument(metavar="URI", help="PIV card, e.g. 'piv:reader=Yubico'.")]


def change(uri: CardUri, as_json: Json = False) -> None:
    """Change a card's PIN: the old one is the URI's or FIDOLOOP_PIN, the new one FIDOLOOP_NEW_PIN, else they are asked.

    The old PIN is sent to the card once: a wrong one costs one try.
    """
    old = parse_key_store_uri(uri).pin() or ask_secret("PIN", "FIDOLOOP_PIN")
    change_pin(uri, old, _new_pin())
    show({"changed": "pin"}, "the PIN was changed", as_json=as_json)


def unblock(uri: CardUri, as_json: Json = False) -> None:
    """Set a new PIN where it is locked or forgotten, with the PUK from FIDOLOOP_PUK, or asked for.

    The PUK is sent to the card once: a wrong one costs one of its tries, and when those are used up, nothing helps.
    """
    puk = ask_secret("PUK", "FIDOLOOP_PUK")
    unblock_pin(uri, puk, _new_pin())
    show({"unblocked": "pin"}, "a new PIN was set", as_json=as_json)


def _new_pin() -> str:
    return ask_secret("new PIN (six to eight digits)", _NEW_PIN)
