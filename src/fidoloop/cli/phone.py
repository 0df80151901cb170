"""`fidoloop phone`: the phone whose keys live in a token."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fidoloop.authenticator.errors import AsmError
from fidoloop.authenticator.models import Form
from fidoloop.bridge.errors import UserDeclinedError
from fidoloop.bridge.profile import Account
from fidoloop.cli import ble, phone_app, phone_passkey, phone_pending, phone_profiles, phone_targets
from fidoloop.cli.common import (
    FormOption,
    Home,
    Insecure,
    Json,
    PhoneName,
    Verification,
    cell,
    console,
    phone_path,
    print_table,
    show,
)
from fidoloop.cli.phone_listen import listen
from fidoloop.cli.phone_session import (
    DenyOption,
    Number,
    OptionalSource,
    Source,
    Yes,
    account_of,
    ask,
    enrolling,
    existing_phone,
    open_phone,
    print_result,
    read_token,
)
from fidoloop.protocol import base64url
from fidoloop.protocol.uaf.registry import Algorithm
from fidoloop.protocol.uaf.signatures import SUPPORTED
from fidoloop.protocol.uaf.status import AsmStatus

app = typer.Typer(no_args_is_help=True, help="The phone: enrol, log in, confirm, deregister, with keys in a token.")

_ALGORITHMS = {algorithm.name.lower(): algorithm for algorithm in Algorithm if algorithm in SUPPORTED}


def _known_algorithm(name: str | None) -> str | None:
    if name is not None and name not in _ALGORITHMS:
        raise typer.BadParameter(f"one of {', '.join(_ALGORITHMS)}")
    return name


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
    target_name: Annotated[
        str | None, typer.Option(help="What the laptop calls this phone.", show_default="its --name")
    ] = None,
    form: FormOption = Form.FIRST_FACTOR,
    uaf_card: Annotated[
        str | None,
        typer.Option(
            "--uaf-card",
            metavar="READER",
            help="A new phone's UAF card, by its reader: it makes the keys for log-ins. Its PIN is asked for, or "
            "FIDOLOOP_CARD_PIN.",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=_known_algorithm,
            help=f"Of which the new key is, if the policy accepts it: {', '.join(_ALGORITHMS)}.",
            show_default="what the policy prefers",
        ),
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Then be pushed to, as with `phone listen`.")] = False,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Enrol with a registration token: make a key in the token and become a dispatch target.

    The first enrolment sets the phone up, with --keys, --uv, --form and --ca; where it fails, nothing is left of it.
    """
    text = read_token(source)
    with (
        enrolling(phone_path(home, name), keys, verification, ca, form=form, uaf_card=uaf_card) as (profile, _),
        # A PIN in the URI opens the token now and is not written down.
        open_phone(profile, yes=yes, deny=deny, insecure=insecure, keys=keys, card_required=True) as phone,
    ):
        result = phone.register(
            text,
            server=server,
            target_name=target_name or name,
            algorithm=None if algorithm is None else _ALGORITHMS[algorithm],
        )
    print_result(result, as_json=as_json)
    if push:
        listen(user=result.username, name=name, home=home, yes=yes, deny=deny, insecure=insecure, as_json=as_json)


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
    with existing_phone(name, home, yes=True, deny=deny, insecure=insecure) as phone:
        print_result(phone.login(server), as_json=as_json)


@app.command()
def scan(
    source: OptionalSource = None,
    *,
    by_ble: Annotated[bool, typer.Option("--ble", help="Take it from a laptop in range, by Bluetooth.")] = False,
    station: ble.StationId = None,
    radio: ble.PhoneRadio = None,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    number: Number = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Take a dispatched token and carry out the log-in, confirmation or deregistration it triggers."""
    if (source is None) != by_ble:
        raise typer.BadParameter("either SOURCE or --ble")
    received = ble.read_token(transport=radio, station=station) if by_ble else None
    text = received.payload if received else read_token(str(source))
    nonce = received.nonce if received else None
    with existing_phone(name, home, yes=yes, deny=deny, insecure=insecure, number=number, nonce=nonce) as phone:
        print_result(phone.scan(text), as_json=as_json)


@app.command("open")
def open_link(
    link: Annotated[str, typer.Argument(metavar="LINK", help="The link, in quotes: fidoloop://… or https://….")],
    *,
    name: PhoneName = "phone",
    home: Home = None,
    yes: Yes = False,
    number: Number = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Take a dispatched token by its link. The link's own address is not asked: the token says where it is redeemed."""
    if "://" not in link:
        raise typer.BadParameter("not a link; scan takes images and texts", param_hint="LINK")
    with existing_phone(name, home, yes=yes, deny=deny, insecure=insecure, number=number) as phone:
        print_result(phone.scan(link), as_json=as_json)


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
    text = read_token(source)
    with existing_phone(name, home, yes=yes, deny=deny, insecure=insecure, number=number) as phone:
        print_result(phone.confirm(text), as_json=as_json)


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
    with existing_phone(name, home, yes=yes, deny=False, insecure=insecure) as phone:
        if source is not None:
            print_result(phone.deregister(read_token(source)), as_json=as_json)
            return
        account = account_of(phone, str(user), server)
        for aaid, _key_id in phone.keys_out_of_reach(account):
            raise AsmError(AsmStatus.AUTHENTICATOR_DISCONNECTED, f"the card {aaid} with a key of {user} is not there")
        if not yes and not ask(f"Delete all keys of {account.username} at {account.base_url}?"):
            raise UserDeclinedError("nothing was deleted")
        deleted = phone.remove(account)
    show(
        {"deleted": [{"aaid": aaid, "keyID": key_id} for aaid, key_id in deleted]},
        f"{len(deleted)} key(s) of {cell(account.username)} deleted, dispatch target removed",
        as_json=as_json,
    )


app.command()(listen)


@app.command("list")
def list_registrations(*, name: PhoneName = "phone", home: Home = None, as_json: Json = False) -> None:
    """List the phone's accounts and registered keys."""
    with existing_phone(name, home, yes=False, deny=True, insecure=False) as phone:
        accounts = phone.accounts()
        registrations = phone.asm.registrations()
        adopted = phone.asm.adopted.all()
        on_cards = [(account, *key) for account in accounts for key in phone.keys_on_cards(account)]
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
                "onCards": [
                    {
                        "aaid": aaid,
                        "keyID": base64url.encode(key_id),
                        "appID": account.app_id,
                        "username": account.username,
                    }
                    for account, aaid, key_id in on_cards
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
    for account, aaid, key_id in on_cards:
        key = base64url.encode(key_id)
        table.add_row(cell(account.username), cell(account.base_url), aaid, key, "kept by the card")
    print_table(table, "no registrations")
    for one in adopted:
        serves = f"serves {base64url.encode(one.key_id)}" if one.key_id else "free"
        console().print(f"adopted key {one.token_key_id.hex()}: {serves}")


def _account(account: Account) -> dict[str, Any]:
    return {
        "server": account.base_url,
        "username": account.username,
        "appID": account.app_id,
        "dispatchTargetId": account.target_id,
        "dispatchTargetName": account.target_name,
    }


# Help lists them in this order: what is done every day stands above.
for _command in (
    phone_profiles.profiles,
    phone_pending.pending,
    phone_targets.targets,
    phone_targets.credentials,
    phone_targets.modify_target,
    phone_targets.delete_target,
):
    app.command()(_command)

app.add_typer(phone_passkey.app, name="passkey")
app.add_typer(phone_app.app, name="app")
