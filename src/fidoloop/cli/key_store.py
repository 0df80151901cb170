"""What commands on a key store share: naming it, opening it with a PIN, naming a key in it."""

import getpass
import os
import sys
from typing import Annotated

import typer

from fidoloop.hsm.errors import PinRequired
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import open_key_store

Uri = Annotated[
    str,
    typer.Argument(
        metavar="URI",
        help="Key store, e.g. 'pkcs11:token=lab?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/path/pin'. "
        "Without a PIN in it: the environment's FIDOLOOP_PIN, or a prompt.",
    ),
]


def from_hex(text: str) -> bytes:
    """Return the bytes of an option written in hexadecimal. Raises typer.BadParameter."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise typer.BadParameter("it is written in hexadecimal") from None
    if not value:
        raise typer.BadParameter("it is empty")
    return value


_ID = typer.Option("--id", metavar="HEX", parser=from_hex, help="The key's id (CKA_ID).")
KeyId = Annotated[bytes, _ID]
MaybeKeyId = Annotated[bytes | None, _ID]


def open_store(uri: str) -> KeyStore:
    """Open a key store for a command: PIN from the URI, else FIDOLOOP_PIN, else a prompt without echo."""
    return open_key_store(uri, pin_prompt=_ask_pin)


def _ask_pin(label: str) -> str:
    pin = os.environ.get("FIDOLOOP_PIN")
    if pin is not None:
        return pin
    if not sys.stdin.isatty():
        raise PinRequired(f"the token {label!r} wants a PIN: give pin-source in the URI or set FIDOLOOP_PIN")
    try:
        return getpass.getpass(f"PIN of token {label!r}: ")
    except EOFError:
        raise PinRequired(f"the token {label!r} wants a PIN, and none was typed") from None
