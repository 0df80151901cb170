"""`fidoloop phone passkey`: FIDO2 credentials whose keys are in the phone's token."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fidoloop.bridge.http import Server
from fidoloop.bridge.passkeys import Passkeys
from fidoloop.bridge.profile import Profile
from fidoloop.cli.common import Home, Insecure, Json, PhoneName, Verification, cell, phone_path, print_table, show
from fidoloop.cli.key_store import open_store
from fidoloop.cli.laptop import ApiKeySource, api_key
from fidoloop.cli.phone_session import DenyOption, enrolling, existing_profile, verifier_of

app = typer.Typer(no_args_is_help=True, help="FIDO2 credentials (passkeys) with their keys in the phone's token.")
ServerUrl = Annotated[str, typer.Option(help="The server's base URL.")]


@app.command()
def register(
    *,
    server: ServerUrl,
    user: Annotated[str, typer.Option(help="Whose it is to be; the server knows him.")],
    keys: Annotated[str | None, typer.Option(metavar="URI", help="Key store of a new phone.")] = None,
    verification: Annotated[
        Verification, typer.Option("--uv", help="How a new phone verifies its user; auto makes no passkeys.")
    ] = Verification.PIN,
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of the lab CA a new phone trusts.", exists=True, dir_okay=False)
    ] = None,
    api_key_source: ApiKeySource = None,
    name: PhoneName = "phone",
    home: Home = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Make a passkey for a user, its key in the token, and register it; takes an API credential of the server.

    A phone that there is not yet is set up, with --keys, --uv and --ca; where it fails, nothing is left of it.
    """
    with (
        enrolling(phone_path(home, name), keys, verification, ca) as (profile, _),
        _passkeys(profile, deny=deny, keys=keys) as passkeys,
        _connection(profile, server, insecure, api_key(api_key_source)) as connection,
    ):
        made = passkeys.register(connection, user)
    show(
        {"id": made.id, "rpId": made.rp_id, "username": made.username},
        f"registered a passkey for {cell(user)} at {cell(made.rp_id)}: {made.id}",
        as_json=as_json,
    )


@app.command()
def login(
    *,
    server: ServerUrl,
    user: Annotated[str | None, typer.Option(help="Who logs in; without it whoever a passkey is of.")] = None,
    name: PhoneName = "phone",
    home: Home = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Log in with a passkey."""
    with (
        existing_profile(name, home) as profile,
        _passkeys(profile, deny=deny) as passkeys,
        _connection(profile, server, insecure) as connection,
    ):
        done = passkeys.login(connection, user)
    verified = "verified" if done.user_verified else "present, not verified"
    show(
        {"username": done.username, "credentialId": done.credential_id, "userVerified": done.user_verified},
        f"logged in as {cell(done.username)} (user {verified})",
        as_json=as_json,
    )


@app.command("list")
def list_passkeys(name: PhoneName = "phone", home: Home = None, as_json: Json = False) -> None:
    """List the phone's passkeys."""
    with existing_profile(name, home) as profile, _passkeys(profile, deny=True) as passkeys:
        found = passkeys.list()
    rows = [{"id": one.id, "rpId": one.rp_id, "username": one.username} for one in found]
    if as_json:
        show({"passkeys": rows}, "", as_json=True)
        return
    table = Table("id", "server", "user")
    for one in found:
        table.add_row(one.id, cell(one.rp_id), cell(one.username or ""))
    print_table(table, "no passkeys")


@app.command()
def delete(
    credential_id: Annotated[str, typer.Argument(metavar="ID", help="As `passkey list` prints it.")],
    name: PhoneName = "phone",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Destroy a passkey's key in the token. The server keeps its part. Before an id that begins with - write --."""
    with existing_profile(name, home) as profile, _passkeys(profile, deny=True) as passkeys:
        gone = passkeys.delete(credential_id)
    show({"id": gone.id, "rpId": gone.rp_id, "username": gone.username}, f"deleted {gone.id}", as_json=as_json)


@contextmanager
def _passkeys(profile: Profile, *, deny: bool, keys: str | None = None) -> Iterator[Passkeys]:
    settings = profile.settings()
    # A PIN in the URI opens the token now and is not written down.
    with open_store(keys or settings.keys_uri) as store:
        verifier = verifier_of(Verification(settings.verification), store, deny=deny)
        with Passkeys(profile.path, store, verifier) as passkeys:
            yield passkeys


def _connection(profile: Profile, server: str, insecure: bool, credential: str | None = None) -> Server:
    ca = profile.settings().ca
    return Server(server, ca=Path(ca) if ca else None, insecure=insecure, api_key=credential)
