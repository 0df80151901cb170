"""`fidoloop phone`: the phone whose keys live in a token."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import UNSET
from rich.table import Table

from fidoloop.authenticator.errors import AuthenticatorError, CommandStatus
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
from fidoloop.bridge.profile import Account, Profile, ProfileMissingError
from fidoloop.bridge.scan import STANDARD_INPUT
from fidoloop.bridge.scan import scan as scan_source
from fidoloop.cli.common import (
    Home,
    Insecure,
    Json,
    PhoneName,
    Verification,
    answer,
    cell,
    console,
    interactive,
    note,
    phone_path,
    show,
)
from fidoloop.cli.key_store import open_store
from fidoloop.hsm.keystore import KeyStore
from fidoloop.hsm.open import parse_key_store_uri
from fidoloop.protocol import base64url
from fidoloop.protocol.channel_linking import ChannelLinkingDemand

app = typer.Typer(no_args_is_help=True, help="The phone: enrol, log in, confirm, deregister, with keys in a token.")

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="The dispatched token: an image file with its QR code, - for standard input, screen: for a screenshot, "
        "camera: or camera:DEVICE, the link, or the text itself.",
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do not ask whether to follow the token (the user is verified all the same).")
]
Number = Annotated[
    str | None,
    typer.Option(metavar="DIGITS", help="The number that the laptop shows, where the phone would ask for it."),
]
DenyOption = Annotated[bool, typer.Option("--deny", help="Be a user who says no when asked to verify.")]


@app.command()
def register(
    source: Source,
    *,
    keys: Annotated[str | None, typer.Option(metavar="URI", help="Key store of a new phone.")] = None,
    verification: Annotated[
        Verification, typer.Option("--uv", help="How a new phone verifies its user.")
    ] = Verification.PIN,
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of the lab CA a new phone trusts.", exists=True, dir_okay=False)
    ] = None,
    server: Annotated[str | None, typer.Option(help="Base URL the token must be for.")] = None,
    target_name: Annotated[str, typer.Option(help="What the laptop calls this phone.")] = "phone",
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Enrol with a registration token: make a key in the token and become a dispatch target.

    The first enrolment sets the phone up, with --keys, --uv and --ca; where it fails, nothing is left of it.
    """
    text = _read(source)
    profile = Profile(phone_path(home, name))
    fresh = not profile.exists()
    try:
        if fresh:
            _set_up(profile, keys, verification, ca)
        elif keys is not None and parse_key_store_uri(keys).without_pin() != profile.settings().keys_uri:
            raise typer.BadParameter("this phone has another key store; --name makes another phone")
        # A PIN in the URI opens the token now and is not written down.
        with _phone(profile, yes=yes, deny=deny, insecure=insecure, keys=keys) as phone:
            result = phone.register(text, server=server, target_name=target_name)
    except BaseException:
        if fresh and not profile.accounts():
            profile.discard()
        raise
    finally:
        profile.close()
    _print_result(result, as_json=as_json)


def _set_up(profile: Profile, keys: str | None, verification: Verification, ca: Path | None) -> None:
    if keys is None:
        raise typer.BadParameter("a new phone needs its key store", param_hint="--keys")
    uri = parse_key_store_uri(keys).without_pin()
    profile.create(keys_uri=uri, verification=verification.value, ca=str(ca.resolve()) if ca else None)


@app.command()
def login(
    *,
    server: Annotated[str | None, typer.Option(help="Base URL, where the phone has accounts at several.")] = None,
    name: PhoneName = "phone",
    home: Home = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Log in on the phone itself, without a dispatched token and without typing a user name."""
    with _existing(name, home, yes=True, deny=deny, insecure=insecure) as phone:
        _print_result(phone.login(server), as_json=as_json)


@app.command()
def scan(
    source: Source,
    *,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    number: Number = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Take a dispatched token and carry out the log-in, confirmation or deregistration it triggers."""
    text = _read(source)
    with _existing(name, home, yes=yes, deny=deny, insecure=insecure, number=number) as phone:
        _print_result(phone.scan(text), as_json=as_json)


@app.command()
def confirm(
    source: Source,
    *,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    number: Number = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """As scan, but the token must hold a transaction: it is shown, and its hash signed."""
    text = _read(source)
    with _existing(name, home, yes=yes, deny=deny, insecure=insecure, number=number) as phone:
        _print_result(phone.confirm(text), as_json=as_json)


@app.command()
def deregister(
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="A dispatched deregistration.")] = None,
    *,
    user: Annotated[str | None, typer.Option(help="Without SOURCE: forget this account on the phone.")] = None,
    server: Annotated[str | None, typer.Option(help="With --user, where the name has accounts at several.")] = None,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Delete keys: those a dispatched token names, or with --user all of an account and its dispatch target."""
    if (source is None) == (user is None):
        raise typer.BadParameter("either SOURCE or --user")
    with _existing(name, home, yes=yes, deny=False, insecure=insecure) as phone:
        if source is not None:
            _print_result(phone.deregister(_read(source)), as_json=as_json)
            return
        account = _account_of(phone, str(user), server)
        if not yes and not _ask(f"Delete all keys of {account.username} at {account.base_url}?"):
            raise UserDeclinedError("nothing was deleted")
        deleted = phone.remove(account)
    show(
        {"deleted": [{"aaid": aaid, "keyID": key_id} for aaid, key_id in deleted]},
        f"{len(deleted)} key(s) of {cell(account.username)} deleted, dispatch target removed",
        as_json=as_json,
    )


def _account_of(phone: Phone, user: str, server: str | None) -> Account:
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


@app.command("list")
def list_registrations(*, name: PhoneName = "phone", home: Home = None, as_json: Json = False) -> None:
    """List the phone's accounts and registered keys."""
    with _existing(name, home, yes=False, deny=True, insecure=False) as phone:
        accounts = phone.accounts()
        registrations = phone.asm.registrations()
        adopted = phone.asm.adopted.all()
    if as_json:
        show(
            {
                "accounts": [_account(entry) for entry in accounts],
                "registrations": [
                    {
                        "aaid": entry.aaid,
                        "keyID": base64url.encode(entry.key_id),
                        "appID": entry.app_id,
                        "username": entry.username,
                        "signCounterCeiling": entry.sign_ceiling,
                    }
                    for entry in registrations
                ],
                "adopted": [
                    {
                        "id": entry.token_key_id.hex(),
                        "keyID": base64url.encode(entry.key_id) if entry.key_id else None,
                    }
                    for entry in adopted
                ],
            },
            "",
            as_json=True,
        )
        return
    table = Table("user", "server", "AAID", "key", "counter at most")
    servers = {(account.app_id, account.username): account.base_url for account in accounts}
    for entry in registrations:
        server = servers.get((entry.app_id, entry.username), entry.app_id)
        key = base64url.encode(entry.key_id)
        table.add_row(cell(entry.username), cell(server), entry.aaid, key, str(entry.sign_ceiling))
    console().print(table if registrations else "no registrations")
    for one in adopted:
        serves = f"serves {base64url.encode(one.key_id)}" if one.key_id else "free"
        console().print(f"adopted key {one.token_key_id.hex()}: {serves}")


@contextmanager
def _existing(
    name: str, home: Path | None, *, yes: bool, deny: bool, insecure: bool, number: str | None = None
) -> Iterator[Phone]:
    path = phone_path(home, name)
    if not path.exists():
        raise ProfileMissingError(f"no phone is set up in {path}: register first, with --keys")
    profile = Profile(path)
    try:
        with _phone(profile, yes=yes, deny=deny, insecure=insecure, number=number) as phone:
            yield phone
    finally:
        profile.close()


@contextmanager
def _phone(
    profile: Profile, *, yes: bool, deny: bool, insecure: bool, keys: str | None = None, number: str | None = None
) -> Iterator[Phone]:
    settings = profile.settings()
    with open_store(keys or settings.keys_uri) as store:
        method = Verification(settings.verification)
        verifier = Deny(method.method) if deny else _verifier(method, store)
        confirm = _yes if yes else _ask_about
        link = _ask_number if number is None else _typed_before(number)
        with Phone(profile, store, verifier, confirm=confirm, link=link, observer=_say, insecure=insecure) as phone:
            yield phone


def _verifier(method: Verification, store: KeyStore) -> UserVerifier:
    if method is Verification.PIN:
        return TokenPin(store, _ask_pin, _choose)
    return Prompt(_ask_presence, _choose) if method is Verification.PROMPT else AutoApprove()


def _ask_pin(request: VerificationRequest, tries_left: int) -> str | None:
    _describe(request)
    pin = os.environ.get("FIDOLOOP_PIN")
    # A scripted PIN is tried once: it would be as wrong the second time.
    if pin and tries_left == PIN_TRIES:
        return pin
    _need_somebody()
    question = f"PIN ({tries_left} tries left)"
    return answer(lambda: typer.prompt(question, hide_input=True, default="", show_default=False, err=True)) or None


def _ask_presence(request: VerificationRequest) -> bool | None:
    _describe(request)
    _need_somebody()
    return bool(answer(lambda: typer.confirm("Approve?", err=True)))


def _choose(usernames: Sequence[str]) -> int | None:
    if not interactive():
        return len(usernames) - 1
    for number, username in enumerate(usernames, 1):
        note(f"{number}  {username}")
    chosen = answer(lambda: int(typer.prompt("Which account?", type=int, default=len(usernames), err=True)))
    return None if chosen is None else chosen - 1


def _read(source: str) -> str:
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
    return _ask("Go on?")


def _ask_number(demand: ChannelLinkingDemand, tries_left: int | None) -> str | None:
    if demand.digits is UNSET:
        note("the token wants to be answered by the channel it came by, and this one cannot")
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


def _yes(_: DispatchedToken) -> bool:
    return True


def _ask(question: str) -> bool:
    if not interactive():
        raise UserDeclinedError("nobody can be asked here: --yes answers for scripts")
    return bool(answer(lambda: typer.confirm(question, err=True)))


def _need_somebody() -> None:
    if not interactive():
        raise AuthenticatorError(CommandStatus.USER_NOT_RESPONSIVE, "nobody is there to answer")


def _describe(request: VerificationRequest) -> None:
    note(f"{request.operation} for {request.username or 'an account of yours'} at {request.app_id}")
    if request.transaction_text is not None:
        note(f"you confirm: {request.transaction_text}")


def _say(name: str, detail: str) -> None:
    note(f"{name}: {detail}")


def _account(account: Account) -> dict[str, Any]:
    return {
        "server": account.base_url,
        "username": account.username,
        "appID": account.app_id,
        "dispatchTargetId": account.target_id,
        "dispatchTargetName": account.target_name,
    }


def _print_result(result: Result, *, as_json: bool) -> None:
    keys = [{"aaid": aaid, "keyID": key_id} for aaid, key_id in result.keys]
    value = {
        "operation": result.operation,
        "username": result.username,
        "statusCode": result.status,
        "message": result.message,
        "keys": keys,
    }
    show(value, f"{result.operation}: {cell(result.message)} ({result.status})", as_json=as_json)
