"""`fidoloop server`: runs the server, and what its operator does."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from fidoloop.cli.common import cell, console
from fidoloop.protocol import outofband, qr
from fidoloop.server import admin
from fidoloop.server.config import ServerConfig, default_home, load_config
from fidoloop.server.environment import system_clock
from fidoloop.server.logs import LogFormat
from fidoloop.server.run import BASE_URL_SETTING, DEFAULT_HOST, DEFAULT_PORT, Listening, RunOptions, run_server
from fidoloop.server.store import queries
from fidoloop.server.store.base import Store
from fidoloop.server.store.open import open_store

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="The relying party: run it, and look after its users and keys.")
user_app = typer.Typer(no_args_is_help=True, help="Users. They exist before any request.")
apikey_app = typer.Typer(no_args_is_help=True, help="API credentials of callers such as the laptop's web application.")
credential_app = typer.Typer(no_args_is_help=True, help="Registered UAF keys.")
target_app = typer.Typer(no_args_is_help=True, help="Dispatch targets: where tokens are delivered.")
metadata_app = typer.Typer(no_args_is_help=True, help="Metadata statements of authenticator models.")
for _name, _sub in (
    ("user", user_app),
    ("apikey", apikey_app),
    ("credential", credential_app),
    ("target", target_app),
    ("metadata", metadata_app),
):
    app.add_typer(_sub, name=_name)

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="State directory.  [default: $XDG_STATE_HOME/fidoloop]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
BaseUrl = Annotated[
    str | None, typer.Option("--base-url", metavar="URL", help="The server's URL as phones and laptops see it.")
]
MaybeUser = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only of this user.")]


@app.command()
def run(  # noqa: PLR0917 - each is an option
    home: Home = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = DEFAULT_HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = DEFAULT_PORT,
    tls_dev: Annotated[bool, typer.Option("--tls-dev", help="TLS by the lab CA in HOME/tls (the default).")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Plain http, on a loopback address only.")] = False,
    base_url: BaseUrl = None,
    log_format: Annotated[LogFormat, typer.Option("--log", help="Log lines on standard error.")] = LogFormat.PLAIN,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log one line per request.")] = False,
    as_json: Json = False,
) -> None:
    """Run the server until it is interrupted; one line on standard output says when it listens."""
    if tls_dev and insecure:
        raise typer.BadParameter("--tls-dev and --insecure exclude each other")

    def announce(listening: Listening) -> None:
        ca = str(listening.ca) if listening.ca else None
        trust = f" (CA certificate: {ca})" if ca else " (plain http)"
        _say(as_json, {"url": listening.url, "ca": ca}, f"listening on {listening.url}{trust}")

    options = RunOptions(
        home=home or default_home(),
        host=host,
        port=port,
        insecure=insecure,
        base_url=base_url,
        log_format=log_format,
        access_log=access_log,
    )
    run_server(options, announce)


@user_app.command("add")
def user_add(username: str, home: Home = None, as_json: Json = False) -> None:
    """Add a user."""
    _do(home, lambda store: admin.add_user(store, username, now=system_clock()))
    _say(as_json, {"username": username}, f"added {username}")


@user_app.command("list")
def user_list(home: Home = None, as_json: Json = False) -> None:
    """List the users."""
    found = _do(home, admin.list_users)
    rows = [
        {"username": user.username, "disabled": user.disabled_at is not None, "created": _iso(user.created_at)}
        for user in found
    ]
    _show(as_json, "users", ("username", "disabled", "created"), rows)


@user_app.command("disable")
def user_disable(username: str, home: Home = None, as_json: Json = False) -> None:
    """Shut a user out at once; open operations fail."""
    _do(home, lambda store: admin.disable_user(store, username, now=system_clock()))
    _say(as_json, {"username": username}, f"disabled {username}")


@user_app.command("enable")
def user_enable(username: str, home: Home = None, as_json: Json = False) -> None:
    """Let a disabled user in again."""
    _do(home, lambda store: admin.enable_user(store, username, now=system_clock()))
    _say(as_json, {"username": username}, f"enabled {username}")


@apikey_app.command("add")
def apikey_add(
    name: Annotated[str, typer.Argument(help="Who will hold it.")] = "api", home: Home = None, as_json: Json = False
) -> None:
    """Make an API credential. It is shown this once; only its hash is kept."""
    key = _do(home, lambda store: admin.add_api_key(store, name, now=system_clock()))
    _say(as_json, {"id": key.id, "apiKey": key.bearer}, key.bearer)


@apikey_app.command("list")
def apikey_list(home: Home = None, as_json: Json = False) -> None:
    """List the API credentials."""
    rows = [
        {"id": key.id, "name": key.name, "created": _iso(key.created_at), "revoked": _iso(key.revoked_at)}
        for key in _do(home, admin.list_api_keys)
    ]
    _show(as_json, "apiKeys", ("id", "name", "created", "revoked"), rows)


@apikey_app.command("revoke")
def apikey_revoke(key_id: str, home: Home = None, as_json: Json = False) -> None:
    """Revoke an API credential by its id, from the next call on."""
    _do(home, lambda store: admin.revoke_api_key(store, key_id, now=system_clock()))
    _say(as_json, {"id": key_id}, f"revoked {key_id}")


@app.command()
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
            home or default_home(), fallback_base_url=known.value if known else None, base_url=base_url
        )
        return config, await admin.enrol(config, store, username, now=system_clock())

    config, enrolment = _do(home, make)
    text = outofband.qr_text(enrolment.payload)
    the_link = outofband.link(config.link_base_url, enrolment.payload)
    if qr is not None:
        _write_qr(qr, text)
    if as_json:
        members = {
            "sessionId": enrolment.session_id,
            "code": text,
            "link": the_link,
            "expires": _iso(enrolment.expires_at),
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


@credential_app.command("list")
def credential_list(user: MaybeUser = None, home: Home = None, as_json: Json = False) -> None:
    """List the registered keys."""
    rows = [
        {
            "keyId": key.key_id,
            "aaid": key.aaid,
            "username": key.username,
            "signCounter": key.sign_counter,
            "created": _iso(key.created_at),
            "lastUsed": _iso(key.last_used_at),
        }
        for key in _do(home, lambda store: admin.list_credentials(store, user))
    ]
    _show(as_json, "credentials", ("keyId", "aaid", "username", "signCounter", "created", "lastUsed"), rows)


@credential_app.command("revoke")
def credential_revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEYID", help="As `credential list` prints it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Delete a key at once; open operations that ask for it fail. Before a KeyID that begins with - write --."""
    revoked = _do(home, lambda store: admin.revoke_credential(store, key_id, now=system_clock()))
    _say(as_json, {"keyId": key_id, "username": revoked[0].username}, f"revoked {key_id} of {revoked[0].username}")


@target_app.command("list")
def target_list(user: MaybeUser = None, home: Home = None, as_json: Json = False) -> None:
    """List the dispatch targets."""
    rows = [
        {
            "id": target.id,
            "name": target.name,
            "username": target.username,
            "dispatcher": target.dispatcher,
            "created": _iso(target.created_at),
            "lastUsed": _iso(target.last_used_at),
        }
        for target in _do(home, lambda store: admin.list_targets(store, user))
    ]
    _show(as_json, "dispatchTargets", ("id", "name", "username", "dispatcher", "created", "lastUsed"), rows)


@target_app.command("revoke")
def target_revoke(target_id: str, home: Home = None, as_json: Json = False) -> None:
    """Delete a dispatch target at once; what was dispatched to it cannot be redeemed any more."""
    _do(home, lambda store: admin.revoke_target(store, target_id, now=system_clock()))
    _say(as_json, {"id": target_id}, f"revoked {target_id}")


@app.command()
def audit(
    user: MaybeUser = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many entries, newest first.")] = 100,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print who logged in, when, by which key, from where; and what else happened to accounts."""
    rows = [
        {
            "at": _iso(entry.at),
            "event": entry.event,
            "outcome": entry.outcome,
            "username": entry.username,
            "aaid": entry.aaid,
            "keyId": entry.key_id,
            "sessionId": entry.session_id,
            "address": entry.address,
            "requestedFrom": entry.requested_from,
        }
        for entry in _do(home, lambda store: admin.audit_entries(store, user, limit=limit))
    ]
    columns = ("at", "event", "outcome", "username", "aaid", "keyId", "address", "requestedFrom")
    _show(as_json, "entries", columns, rows)


@metadata_app.command("add")
def metadata_add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A metadata statement, JSON.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check a metadata statement and hand it to the server, which takes it up within a second."""
    from fidoloop.server.metadata import add_metadata_file

    entry = add_metadata_file(file, (home or default_home()) / "metadata")
    statement = entry.statement
    _say(as_json, {"aaid": statement.aaid}, f"added {statement.aaid}: {statement.description}")


def _do(home: Path | None, action: Callable[[Store], Awaitable[T]]) -> T:
    """Run one operator's action on the store of `home`."""
    directory = home or default_home()

    async def on_store() -> T:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Where the store is does not depend on the URL, which may not be known yet.
        config = load_config(directory, fallback_base_url="https://localhost")
        store = await open_store(config.database)
        try:
            return await action(store)
        finally:
            await store.close()

    return asyncio.run(on_store())


def _say(as_json: bool, members: dict[str, Any], text: str) -> None:
    typer.echo(json.dumps(members) if as_json else text)


def _show(as_json: bool, name: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    if as_json:
        typer.echo(json.dumps({name: rows}))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(cell("" if row[column] is None else str(row[column])) for column in columns))
    console().print(table if rows else f"no {name}")


def _iso(millis: int | None) -> str | None:
    if millis is None:
        return None
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_qr(path: Path, text: str) -> None:

    path.write_bytes(qr.png(text))


def _print_qr(text: str) -> None:
    """Print the QR code where the terminal is wide enough for it."""

    lines = qr.half_blocks(text)
    if max(map(len, lines)) <= shutil.get_terminal_size().columns:
        typer.echo("\n".join(lines))
