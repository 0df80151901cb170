"""`fidoloop server user`, `apikey` and `enrol`: who may use the server."""

import json
import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from fidoloop.cli.private_files import write_private
from fidoloop.cli.server_common import BaseUrl, Home, Json, do, iso, say, show_rows
from fidoloop.protocol import outofband, qr
from fidoloop.server import admin
from fidoloop.server.config import ServerConfig, default_home, load_config
from fidoloop.server.environment import system_clock
from fidoloop.server.run import BASE_URL_SETTING
from fidoloop.server.store import queries
from fidoloop.server.store.base import Store

user_app = typer.Typer(no_args_is_help=True, help="Users. They exist before any request.")
apikey_app = typer.Typer(no_args_is_help=True, help="API credentials of callers such as the laptop's web application.")


@user_app.command("add")
def user_add(
    username: str,
    *,
    numbered: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1_000_000, help="Add N users, the name with 0 to N-1 behind it."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Add a user, or with --numbered many, for `fidoloop load`."""
    names = [username] if numbered is None else [f"{username}{number}" for number in range(numbered)]
    do(home, lambda store: admin.add_user(store, *names, now=system_clock()))
    if numbered is None:
        say(as_json, {"username": username}, f"added {username}")
    else:
        say(as_json, {"usernames": names}, f"added {names[0]} to {names[-1]}")


@user_app.command("password")
def user_password(username: str, home: Home = None, as_json: Json = False) -> None:
    """Set a user's password: typed, or FIDOLOOP_USER_PASSWORD. It enrols FIDO keys over OAuth and logs nobody in."""
    password = os.environ.get("FIDOLOOP_USER_PASSWORD") or typer.prompt("Password", hide_input=True, err=True)
    try:
        do(home, lambda store: admin.set_password(store, username, password, now=system_clock()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    say(as_json, {"username": username}, f"the password of {username} is set")


@user_app.command("list")
def user_list(home: Home = None, as_json: Json = False) -> None:
    """List the users."""
    found = do(home, admin.list_users)
    rows = [
        {"username": user.username, "disabled": user.disabled_at is not None, "created": iso(user.created_at)}
        for user in found
    ]
    show_rows(as_json, "users", ("username", "disabled", "created"), rows)


@user_app.command("disable")
def user_disable(username: str, home: Home = None, as_json: Json = False) -> None:
    """Shut a user out at once; open operations fail."""
    do(home, lambda store: admin.disable_user(store, username, now=system_clock()))
    say(as_json, {"username": username}, f"disabled {username}")


@user_app.command("enable")
def user_enable(username: str, home: Home = None, as_json: Json = False) -> None:
    """Let a disabled user in again."""
    do(home, lambda store: admin.enable_user(store, username, now=system_clock()))
    say(as_json, {"username": username}, f"enabled {username}")


@apikey_app.command("add")
def apikey_add(
    name: Annotated[str, typer.Argument(help="Who will hold it.")] = "api", home: Home = None, as_json: Json = False
) -> None:
    """Make an API credential. It is shown this once; only its hash is kept."""
    key = do(home, lambda store: admin.add_api_key(store, name, now=system_clock()))
    say(as_json, {"id": key.id, "apiKey": key.bearer}, key.bearer)


@apikey_app.command("list")
def apikey_list(home: Home = None, as_json: Json = False) -> None:
    """List the API credentials."""
    rows = [
        {"id": key.id, "name": key.name, "created": iso(key.created_at), "revoked": iso(key.revoked_at)}
        for key in do(home, admin.list_api_keys)
    ]
    show_rows(as_json, "apiKeys", ("id", "name", "created", "revoked"), rows)


@apikey_app.command("revoke")
def apikey_revoke(key_id: str, home: Home = None, as_json: Json = False) -> None:
    """Revoke an API credential by its id, from the next call on."""
    do(home, lambda store: admin.revoke_api_key(store, key_id, now=system_clock()))
    say(as_json, {"id": key_id}, f"revoked {key_id}")


def enrol(  # noqa: PLR0917 - each is an option
    username: Annotated[str, typer.Argument(metavar="USER")],
    home: Home = None,
    base_url: BaseUrl = None,
    qr: Annotated[Path | None, typer.Option("--qr", metavar="FILE", help="Write the QR code there, PNG.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Print the link.")] = False,
    code: Annotated[bool, typer.Option("--code", help="Print the code to type or paste.")] = False,
    as_json: Json = False,
) -> None:
    """Make a registration token (single use, five minutes) for a user's phone: QR code, link or code."""

    async def make(store: Store) -> tuple[ServerConfig, admin.Enrolment]:
        known = await store.fetch_one(queries.SETTING, name=BASE_URL_SETTING)
        config = load_config(
            home or default_home(), {"base_url": base_url}, fallback_base_url=known.value if known else None
        )
        return config, await admin.enrol(config, store, username, now=system_clock())

    config, enrolment = do(home, make)
    text = outofband.qr_text(enrolment.payload)
    the_link = outofband.link(config.link_base_url, enrolment.payload)
    if qr is not None:
        _write_qr(qr, text)
    if as_json:
        members = {
            "sessionId": enrolment.session_id,
            "code": text,
            "link": the_link,
            "expires": iso(enrolment.expires_at),
        }
        typer.echo(json.dumps(members | ({"qr": str(qr)} if qr else {})))
        return
    if qr is not None:
        typer.echo(str(qr))
    if link:
        typer.echo(the_link)
    if code:
        typer.echo(text)
    if not (qr or link or code):
        _print_qr(text)
        typer.echo(text)


def _write_qr(path: Path, text: str) -> None:
    write_private(path, qr.png(text))


def _print_qr(text: str) -> None:
    """Print the QR code where the terminal is wide enough for it."""
    lines = qr.half_blocks(text)
    if max(map(len, lines)) <= shutil.get_terminal_size().columns:
        typer.echo("\n".join(lines))
