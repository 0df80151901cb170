"""`fidoloop card`: a virtual PIV card, which may be a UAF authenticator and a FIDO2 security key, too; a key on USB."""

import contextlib
import datetime
import re
import signal
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from fidoloop.authenticator.ctap2.authenticator import Authenticator
from fidoloop.authenticator.ctap2.device import InProcessDevice
from fidoloop.authenticator.ctap2.hid import CtapHid
from fidoloop.authenticator.ctap2.state import Ctap2State
from fidoloop.authenticator.fido_applet import FidoApplet
from fidoloop.authenticator.state import AuthenticatorState
from fidoloop.authenticator.uaf_applet import UafApplet
from fidoloop.authenticator.user_verification import InTheField
from fidoloop.cli.common import Home, Json, Verification, home_directory, note, show
from fidoloop.cli.key_store import open_store
from fidoloop.cli.phone_session import verifier_of
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.sim.card import Applet
from fidoloop.hsm.sim.factory import CERTIFICATE_FILE, FIRMWARE, Factory
from fidoloop.hsm.sim.piv.state import StateStore
from fidoloop.hsm.sim.piv_card import piv_card
from fidoloop.hsm.sim.readers import events, reader_with
from fidoloop.hsm.sim.uhid import DEVICE, UhidDevice
from fidoloop.hsm.sim.vpcd import DEFAULT_PORT, InsertedCard, ReaderError, look_for_reader

app = typer.Typer(no_args_is_help=True, help="A virtual PIV card in a virtual reader: keys in software, for labs.")

_RETRY_SECONDS = 1.0


@app.callback()
def card() -> None:
    """A virtual PIV card in a virtual reader: keys in software, for labs."""


@app.command()
def run(  # noqa: PLR0917 - each is an option
    home: Home = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="The card's memory.", show_default="HOME/card")
    ] = None,
    factory: Annotated[
        Path | None,
        typer.Option(
            "--factory", metavar="DIR", help="The CA that new cards' attestation leads to.", show_default="HOME/factory"
        ),
    ] = None,
    reader: Annotated[int, typer.Option(min=0, max=15, metavar="N", help="Which virtual reader, from 0.")] = 0,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="N", help="The reader's port.", show_default=f"{DEFAULT_PORT} + reader"),
    ] = None,
    firmware: Annotated[
        str | None,
        typer.Option(metavar="X.Y.Z", help="A new card's version.", show_default=".".join(map(str, FIRMWARE))),
    ] = None,
    yubikey_shape: Annotated[
        bool,
        typer.Option("--yubikey-shape", help="A new card attests under Yubico's object identifiers, to test parsers."),
    ] = False,
    uaf: Annotated[bool, typer.Option("--uaf", help="The card is a UAF authenticator too; needs --keys.")] = False,
    fido: Annotated[
        bool, typer.Option("--fido", help="The card is a contactless FIDO2 security key too; needs --keys.")
    ] = False,
    keys: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Key store for --uaf, whose VERIFY takes its PIN, and for --fido."),
    ] = None,
    verification: Annotated[
        Verification,
        typer.Option(
            "--uv",
            help="How the security key's user is there: auto, by the card's being in the reader; prompt, by saying yes "
            "here; pin, by typing the token's PIN here, which verifies who it is.",
        ),
    ] = Verification.AUTO,
    as_json: Json = False,
) -> None:
    """Run the card until it is interrupted; one line on standard output says which reader it is in.

    A new card has PIN 123456, PUK 12345678 and the management key 0102..08 three times (3DES), as real ones do. The
    reader is pcscd's with the driver vpcd (Debian: pcscd, vsmartcard-vpcd); where pcscd stops, the card waits for it.
    """
    if (uaf or fido) != (keys is not None):
        raise typer.BadParameter("--uaf and --fido need --keys URI, and --keys one of them")
    directory = state or home_directory(home) / "card"
    factory_directory = factory or home_directory(home) / "factory"
    store = _card_in(directory, factory_directory, _version(firmware), yubikey_shape=yubikey_shape)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as opened:
        opened.callback(store.close)
        before = events()  # starts pcscd where the system does so on demand
        look_for_reader(port or DEFAULT_PORT + reader)  # before anybody types a PIN for nothing
        further: list[Applet] = []
        if keys is not None:
            key_store = opened.enter_context(open_store(keys))
            further += [_uaf_applet(key_store, directory, opened)] if uaf else []
            further += [_fido_applet(key_store, directory, verification, opened)] if fido else []
        inserted = InsertedCard(piv_card(store, *further), port=port or DEFAULT_PORT + reader)
        opened.callback(inserted.pull)
        try:
            inserted.insert()
            name = reader_with(inserted.card.atr, before, slot=reader)
            _announce(name, store, directory, factory_directory, as_json=as_json)
            while True:
                _serve(inserted)
        except KeyboardInterrupt:
            note("the card is pulled")


@app.command()
def usb(  # noqa: PLR0917 - each is an option
    keys: Annotated[str, typer.Option(metavar="URI", help="Key store of the security key.")],
    home: Home = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the security key; made if missing.", show_default="HOME/usb"),
    ] = None,
    verification: Annotated[
        Verification,
        typer.Option(
            "--uv",
            help="How the user is there: prompt, by saying yes here; pin, by typing the token's PIN here, which "
            "verifies who it is; auto, nobody is asked.",
        ),
    ] = Verification.PROMPT,
    device: Annotated[
        Path, typer.Option(metavar="FILE", help="The kernel's file for devices made by programs.")
    ] = DEVICE,
    as_json: Json = False,
) -> None:
    """Run a FIDO2 security key on USB until it is interrupted; browsers find it as any other.

    Needs Linux with the module uhid, and a user who may open /dev/uhid. Where neither is to be had, `card run --fido`
    is the same key in a reader.
    """
    directory = state or home_directory(home) / "usb"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as opened:
        key_store = opened.enter_context(open_store(keys))
        plugged = UhidDevice.plug("fidoloop security key", device)
        opened.callback(plugged.close)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_state = Ctap2State(directory / "fido.sqlite", key_store)
        opened.callback(key_state.close)
        user = InTheField() if verification is Verification.AUTO else verifier_of(verification, key_store, deny=False)
        authenticator = Authenticator(key_store, key_state, user, transports=("usb",))
        hid = CtapHid(InProcessDevice(authenticator), plugged.send)
        opened.callback(hid.close)
        show({"state": str(directory)}, f"security key on USB; its state is in {directory}", as_json=as_json)
        try:
            plugged.serve(hid.receive)
        except KeyboardInterrupt:
            note("the security key is pulled")


def _uaf_applet(key_store: KeyStore, directory: Path, opened: contextlib.ExitStack) -> Applet:
    state = AuthenticatorState(directory / "uaf.sqlite", key_store, mac_key_id=b"fidoloop:uaf-card-mac")
    opened.callback(state.close)
    return UafApplet(key_store, state)


def _fido_applet(
    key_store: KeyStore, directory: Path, verification: Verification, opened: contextlib.ExitStack
) -> Applet:
    state = Ctap2State(directory / "fido.sqlite", key_store)
    opened.callback(state.close)
    user = InTheField() if verification is Verification.AUTO else verifier_of(verification, key_store, deny=False)
    return FidoApplet(Authenticator(key_store, state, user, transports=("nfc",)))


def _card_in(
    directory: Path, factory: Path, firmware: tuple[int, int, int] | None, *, yubikey_shape: bool
) -> StateStore:
    """Take the card in `directory`, or make one there."""
    store = StateStore.open(directory)
    if store is None:
        now = datetime.datetime.now(datetime.UTC)
        state = Factory.open(factory, now=now).personalise(
            now=now, firmware=firmware or FIRMWARE, yubikey_shape=yubikey_shape
        )
        return StateStore(state, directory)
    if firmware not in (None, store.state.firmware) or (yubikey_shape and not store.state.yubikey_shape):
        store.close()
        raise typer.BadParameter(f"the card in {directory} was made otherwise: version and shape are a new card's")
    return store


def _version(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})", text, re.ASCII)
    if not match or any(int(number) > 255 for number in match.groups()):
        raise typer.BadParameter("a version is three numbers up to 255, as in 5.7.0")
    return int(match[1]), int(match[2]), int(match[3])


def _announce(name: str | None, store: StateStore, directory: Path, factory: Path, *, as_json: bool) -> None:
    serial = str(store.state.serial)
    uri = "piv:" + (f"reader={quote(name, safe='')};" if name else "") + f"serial={serial}"
    where = f"in reader {name}" if name else "in a reader this program's PC/SC does not see"
    root = factory / CERTIFICATE_FILE
    answer = {"uri": uri, "reader": name, "serial": serial, "state": str(directory), "factory_ca": str(root)}
    show(answer, f"card {serial} {where}: {uri}", as_json=as_json)


def _serve(inserted: InsertedCard) -> None:
    """Stay in the reader until it throws the card out, then wait for it to come back, as after a restart of pcscd."""
    inserted.wait_pulled()
    inserted.pull()
    note("the reader is gone: waiting for it")
    while True:
        try:
            inserted.insert()
        except ReaderError:
            time.sleep(_RETRY_SECONDS)
        else:
            note("the card is in the reader again")
            return
