"""What the phone's commands share: opening a phone, and the person in front of it, who is asked on a terminal."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET

from fidoloop.authenticator.card_authenticator import CardAuthenticator, UafCardUser
from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
from fidoloop.authenticator.models import Form
from fidoloop.authenticator.state import MAC_KEY_ID
from fidoloop.authenticator.user_verification import (
    PIN_TRIES,
    AutoApprove,
    Deny,
    Prompt,
    TokenPin,
    UserVerifier,
    VerificationRequest,
)
from fidoloop.bridge.errors import UserDeclinedError
from fidoloop.bridge.inbox import DispatchedToken
from fidoloop.bridge.phone import Linker, Phone, Result
from fidoloop.bridge.profile import Account, Profile, ProfileMissingError, Settings
from fidoloop.bridge.scan import CAMERA, STANDARD_INPUT
from fidoloop.bridge.scan import scan as scan_source
from fidoloop.cli.common import (
    Verification,
    answer,
    cell,
    check_form,
    interactive,
    note,
    phone_names,
    phone_path,
    show,
)
from fidoloop.cli.key_store import open_store
from fidoloop.hsm.errors import TokenAbsent
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import parse_key_store_uri
from fidoloop.hsm.uaf_card import UafCard
from fidoloop.protocol.channel_linking import ChannelLinkingDemand

_SOURCE_HELP = (
    "The dispatched token: an image file with its QR code, - for standard input, screen: for a screenshot, "
    "camera: or camera:DEVICE, the link, or the text itself."
)
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE_HELP)]
OptionalSource = Annotated[str | None, typer.Argument(metavar="[SOURCE]", help=_SOURCE_HELP)]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do not ask whether to follow the token (the user is verified all the same).")
]
Number = Annotated[
    str | None,
    typer.Option(metavar="DIGITS", help="The number that the laptop shows, where the phone would ask for it."),
]
DenyOption = Annotated[bool, typer.Option("--deny", help="Be a user who says no when asked to verify.")]


@contextmanager
def existing_phone(
    name: str,
    home: Path | None,
    *,
    yes: bool,
    deny: bool,
    insecure: bool,
    number: str | None = None,
    nonce: str | None = None,
) -> Iterator[Phone]:
    """Open the phone called `name`. Raises ProfileMissingError, KeyStoreError."""
    with (
        existing_profile(name, home) as profile,
        open_phone(profile, yes=yes, deny=deny, insecure=insecure, number=number, nonce=nonce) as phone,
    ):
        yield phone


@contextmanager
def existing_profile(name: str, home: Path | None) -> Iterator[Profile]:
    """Open the profile of the phone called `name`. Raises ProfileMissingError."""
    path = phone_path(home, name)
    if not path.exists():
        others = phone_names(home)
        there = f"; with --name there are: {', '.join(others)}" if others else ""
        raise ProfileMissingError(f"no phone is set up in {path}: register first, with --keys{there}")
    profile = Profile(path)
    try:
        yield profile
    finally:
        profile.close()


def set_up(
    profile: Profile,
    keys: str | None,
    verification: Verification,
    ca: Path | None,
    *,
    form: Form = Form.FIRST_FACTOR,
    uaf_card: str | None = None,
) -> None:
    """Make a new phone of these options. Raises typer.BadParameter."""
    if keys is None:
        raise typer.BadParameter("a new phone needs its key store", param_hint="--keys")
    check_form(form, verification)
    uri = parse_key_store_uri(keys).without_pin()
    profile.create(
        keys_uri=uri,
        verification=verification.value,
        ca=str(ca.resolve()) if ca else None,
        form=form,
        uaf_card=uaf_card,
    )


@contextmanager
def enrolling(
    path: Path,
    keys: str | None,
    verification: Verification,
    ca: Path | None,
    *,
    form: Form = Form.FIRST_FACTOR,
    uaf_card: str | None = None,
) -> Iterator[tuple[Profile, bool]]:
    """Give the profile of a phone that enrols, and whether it is new; a new one that gets no account is taken away.

    Raises typer.BadParameter: the options of a new phone are wrong, or `keys` or `uaf_card` is not what this one has.
    """
    profile = Profile(path)
    fresh = not profile.exists()
    try:
        if fresh:
            set_up(profile, keys, verification, ca, form=form, uaf_card=uaf_card)
        else:
            _check_same(profile.settings(), keys, uaf_card)
        yield profile, fresh
    except BaseException:
        if fresh and not profile.accounts():
            profile.discard()
        raise
    finally:
        profile.close()


def _check_same(settings: Settings, keys: str | None, uaf_card: str | None) -> None:
    if keys is not None and parse_key_store_uri(keys).without_pin() != settings.keys_uri:
        raise typer.BadParameter("this phone has another key store; --name makes another phone", param_hint="--keys")
    if uaf_card not in (None, settings.uaf_card):
        has = f"its UAF card in {settings.uaf_card!r}" if settings.uaf_card else "no UAF card"
        raise typer.BadParameter(
            f"this phone was set up with {has}; --name makes another phone", param_hint="--uaf-card"
        )


@contextmanager
def open_phone(
    profile: Profile,
    *,
    yes: bool,
    deny: bool,
    insecure: bool,
    keys: str | None = None,
    number: str | None = None,
    nonce: str | None = None,
    card_required: bool = False,
) -> Iterator[Phone]:
    """Open the phone of a profile; `number` answers where the user would type one, `nonce` for a laptop's station.

    With `card_required` a phone that has a UAF card is not opened without it. Raises as `existing_phone`.
    """
    settings = profile.settings()
    with open_store(keys or settings.keys_uri) as store:
        link = _linker(_ask_number if number is None else _typed_before(number), nonce)
        cards = _cards(settings.uaf_card, deny=deny, required=card_required)
        with at_terminal(profile, store, yes=yes, deny=deny, insecure=insecure, link=link, cards=cards) as phone:
            yield phone


def at_terminal(
    profile: Profile,
    store: KeyStore,
    *,
    yes: bool = False,
    deny: bool = False,
    insecure: bool = False,
    link: Linker | None = None,
    cards: Sequence[CardAuthenticator] = (),
    mac_key_id: bytes = MAC_KEY_ID,
) -> Phone:
    """Return the phone of a profile with its keys in an open store, whose user is the person at the terminal."""
    method = Verification(profile.settings().verification)
    return Phone(
        profile,
        store,
        verifier_of(method, store, deny=deny),
        confirm=_yes if yes else _ask_about,
        link=link or _ask_number,
        observer=_say,
        insecure=insecure,
        cards=cards,
        mac_key_id=mac_key_id,
    )


def _cards(reader: str | None, *, deny: bool, required: bool) -> Sequence[CardAuthenticator]:
    if reader is None:
        return ()
    try:
        return UafCardUser(UafCard(reader), _nobody if deny else _ask_card_pin, _choose).authenticators()
    except TokenAbsent as absent:
        if required:
            raise
        note(f"without the UAF card: {absent}")
        return ()


def _nobody(_request: VerificationRequest, _tries_left: int) -> str | None:
    return None


def _ask_card_pin(request: VerificationRequest, tries_left: int) -> str | None:
    with _described(request):
        return _typed_pin(tries_left, "card's PIN", "FIDOLOOP_CARD_PIN")


def verifier_of(method: Verification, store: KeyStore, *, deny: bool) -> UserVerifier:
    """Return who verifies the user on this terminal; with `deny` a user who says no."""
    if deny:
        return Deny(method.method)
    if method is Verification.PIN:
        return TokenPin(store, _ask_pin, _choose)
    return Prompt(_ask_presence, _choose) if method is Verification.PROMPT else AutoApprove()


def _ask_pin(request: VerificationRequest, tries_left: int) -> str | None:
    with _described(request):
        return _typed_pin(tries_left)


def _typed_pin(tries_left: int, what: str = "PIN", variable: str = "FIDOLOOP_PIN") -> str | None:
    pin = os.environ.get(variable)
    # A scripted PIN is tried once: it would be as wrong the second time.
    if pin and tries_left == PIN_TRIES:
        return pin
    _need_somebody()
    question = f"{what} ({tries_left} tries left)"
    return answer(lambda: typer.prompt(question, hide_input=True, default="", show_default=False, err=True)) or None


def _ask_presence(request: VerificationRequest) -> bool | None:
    with _described(request):
        _need_somebody()
        return bool(answer(lambda: typer.confirm("Approve?", err=True)))


def _choose(usernames: Sequence[str]) -> int | None:
    if not interactive():
        return len(usernames) - 1
    for number, username in enumerate(usernames, 1):
        note(f"{number}  {username}")
    chosen = answer(lambda: int(typer.prompt("Which account?", type=int, default=len(usernames), err=True)))
    return None if chosen is None else chosen - 1


def read_token(source: str) -> str:
    """Return the text of a dispatched token, wherever it is. Raises BridgeError."""
    if source.startswith(CAMERA):
        note("looking through the camera: Ctrl-C ends it")
    return scan_source(source, choose=_choose_token if interactive() and source != STANDARD_INPUT else None)


def _choose_token(described: Sequence[str]) -> int | None:
    for number, one in enumerate(described, 1):
        note(f"{number}  {one}")
    chosen = answer(lambda: int(typer.prompt("Which token?", type=int, err=True)))
    return chosen - 1 if chosen is not None and 1 <= chosen <= len(described) else None


def _ask_about(token: DispatchedToken) -> bool:
    note(f"{token.operation} at {token.host}")
    note(f"account: {token.account.username if token.account else 'not said (the token was not encrypted)'}")
    note(f"asked for by: {token.requested_by or 'not said'}")
    return ask("Go on?")


def _ask_number(demand: ChannelLinkingDemand, tries_left: int | None) -> str | None:
    if demand.digits is UNSET:
        note("the token wants to be answered by the laptop's station: take it with --ble")
        return None
    if not interactive():
        note("nobody can be asked for the number here: --number answers for scripts")
        return None
    left = "" if tries_left is None else f"; that was wrong, {tries_left} tries left"
    question = f"Which number does the laptop show ({demand.digits} digits{left})?"
    while True:
        typed = (answer(lambda: typer.prompt(question, default="", show_default=False, err=True)) or "").strip()
        if not typed or (len(typed) == demand.digits and typed.isascii() and typed.isdigit()):
            return typed or None


def _typed_before(number: str) -> Linker:
    # A scripted number would be as wrong the second time.
    return lambda demand, tries_left: number if tries_left is None else None


def _linker(by_person: Linker, nonce: str | None) -> Linker:
    def link(demand: ChannelLinkingDemand, tries_left: int | None) -> str | None:
        if demand.mode == "ble" and nonce is not None:
            return nonce if tries_left is None else None
        return by_person(demand, tries_left)

    return link


def _yes(_: DispatchedToken) -> bool:
    return True


def ask(question: str) -> bool:
    """Return the user's yes or no. Raises UserDeclinedError where nobody can be asked."""
    if not interactive():
        raise UserDeclinedError("nobody can be asked here: --yes answers for scripts")
    return bool(answer(lambda: typer.confirm(question, err=True)))


def _need_somebody() -> None:
    if not interactive():
        raise AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody is there to answer")


@contextmanager
def _described(request: VerificationRequest) -> Iterator[None]:
    """Say what is asked; an image is in a file for as long as the question stands."""
    note(f"{request.operation} for {request.username or 'an account of yours'} at {request.app_id}")
    if request.transaction_text is not None:
        note(f"you confirm: {request.transaction_text}")
    if request.transaction_image is None:
        yield
        return
    with tempfile.NamedTemporaryFile(prefix="fidoloop-transaction-", suffix=".png") as image:
        image.write(request.transaction_image)
        image.flush()
        note(f"you confirm what the image {image.name} shows")
        yield


def _say(name: str, detail: str) -> None:
    note(f"{name}: {detail}")


def print_result(result: Result, *, as_json: bool) -> None:
    """Say what an operation came to."""
    show(result_members(result), f"{result.operation}: {cell(result.message)} ({result.status})", as_json=as_json)


def result_members(result: Result) -> dict[str, Any]:
    """Return what an operation came to as the members of a JSON object."""
    return {
        "operation": result.operation,
        "username": result.username,
        "statusCode": result.status,
        "message": result.message,
        "keys": [{"aaid": aaid, "keyID": key_id} for aaid, key_id in result.keys],
    }


def account_of(phone: Phone, user: str, server: str | None) -> Account:
    """Return the one account that is meant. Raises typer.BadParameter."""
    found = [
        entry
        for entry in phone.accounts()
        if entry.username == user and server in (None, entry.base_url, f"{entry.base_url}/")
    ]
    if not found:
        raise typer.BadParameter(f"no account {user} on this phone", param_hint="--user")
    if len(found) > 1:
        servers = ", ".join(entry.base_url for entry in found)
        raise typer.BadParameter(
            f"{user} has accounts at several servers, name one of: {servers}", param_hint="--server"
        )
    return found[0]
