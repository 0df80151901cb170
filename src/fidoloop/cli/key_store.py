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
        help="Key store: 'pkcs11:token=lab?module-path=/path/module.so' or, a PIV card, 'piv:reader=Yubico'. After the "
        "?, with & between them: pin-source=/path/pin and, of a PIV card, management-key-source=/path/key. "
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
    return open_key_store(uri, pin_prompt=ask_pin)


def ask_secret(what: str, variable: str, *, help_text: str = "") -> str:
    """Return a secret: of the environment, else typed without echo. Raises PinRequired.

    Args:
        what: what is asked for, e.g. "PIN of token 'lab'".
        variable: the environment variable.
        help_text: how else it can be given, for the error.
    """
    found = os.environ.get(variable)
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise PinRequired(f"the {what} is needed: {help_text}set {variable}")
    try:
        return getpass.getpass(f"{what}: ")
    except EOFError:
        raise PinRequired(f"the {what} is needed, and none was typed") from None


def ask_pin(label: str) -> str:
    """Return the PIN of the token called `label`: FIDOLOOP_PIN, else typed. Raises PinRequired."""
    return ask_secret(f"PIN of token {label!r}", "FIDOLOOP_PIN", help_text="give pin-source in the URI or ")
