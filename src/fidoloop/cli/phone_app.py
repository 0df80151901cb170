"""`fidoloop phone app`: the phone as an OAuth client whose keys are in its token."""

import json
import os
import re
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from fidoloop.bridge.errors import BridgeError
from fidoloop.bridge.http import Server
from fidoloop.bridge.oauth.app import SCOPE, LoggedIn, OAuthApp
from fidoloop.bridge.oauth.fido import PhoneFido
from fidoloop.bridge.oauth.loopback import LoopbackRedirect
from fidoloop.bridge.oauth.state import App, AppState
from fidoloop.bridge.passkeys import Passkeys
from fidoloop.bridge.profile import Profile
from fidoloop.cli.common import (
    Home,
    Insecure,
    Json,
    PhoneName,
    Verification,
    cell,
    iso,
    note,
    phone_path,
    show,
    show_rows,
)
from fidoloop.cli.exits import Exit
from fidoloop.cli.phone_session import DenyOption, enrolling, existing_profile, open_phone, verifier_of

_STEP_UP = re.compile(r'error="insufficient_user_authentication".*acr_values="([a-z0-9 -]+)"')
"""In a resource's challenge: what it takes (RFC 9470 section 3)."""
app = typer.Typer(no_args_is_help=True, help="An OAuth client with its keys in the phone's token.")
ServerUrl = Annotated[str, typer.Option(help="The server's base URL.")]
Scope = Annotated[str, typer.Option(help="What the tokens are to be good for.")]


@app.command()
def enroll(
    *,
    server: ServerUrl,
    user: Annotated[str, typer.Option(help="Whose account; its password is asked for, or FIDOLOOP_USER_PASSWORD.")],
    keys: Annotated[str | None, typer.Option(metavar="URI", help="Key store of a new phone.")] = None,
    verification: Annotated[Verification, typer.Option("--uv", help="How a new phone verifies its user.")] = (
        Verification.PIN
    ),
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of the lab CA a new phone trusts.", exists=True, dir_okay=False)
    ] = None,
    passkey: Annotated[bool, typer.Option("--passkey", help="Enrol a passkey instead of a UAF key.")] = False,
    scope: Scope = SCOPE,
    name: PhoneName = "phone",
    home: Home = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Register the app by evidence of its hardware, and enrol a FIDO key with the account's password.

    A phone that there is not yet is set up, with --keys, --uv and --ca; where it fails, nothing is left of it.
    """
    with (
        enrolling(phone_path(home, name), keys, verification, ca) as (profile, fresh),
        _opened(profile, server, deny=deny, insecure=insecure, keys=keys) as (oauth, fido),
    ):
        oauth.register()
        password = os.environ.get("FIDOLOOP_USER_PASSWORD") or typer.prompt("Password", hide_input=True, err=True)
        try:
            done = oauth.enrol(user, password, fido, passkey=passkey, scope=scope)
        except BaseException:
            if fresh:
                _unregister(oauth)
            raise
    _show(done, as_json=as_json)


@app.command()
def login(
    *,
    server: ServerUrl,
    acr: Annotated[str, typer.Option(help="How: uaf, uaf-hw, fido2, fido2-hw, or web: in a browser.")] = "uaf",
    scope: Scope = SCOPE,
    force: Annotated[bool, typer.Option("--force", help="Though there is an id_token that is still good.")] = False,
    open_browser: Annotated[
        bool, typer.Option("--browser", help="Open the browser where one is needed; else its address is printed only.")
    ] = False,
    wait: Annotated[int, typer.Option(metavar="SECONDS", min=1, help="How long to wait for the browser.")] = 600,
    name: PhoneName = "phone",
    home: Home = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Log in by FIDO, unless the id_token of an earlier log-in is still good.

    With --acr web, and where the server sends the app there, log in and allow it in a browser on this machine.
    """
    with (
        existing_profile(name, home) as profile,
        _opened(profile, server, deny=deny, insecure=insecure) as (oauth, fido),
        LoopbackRedirect(lambda url: _send(url, open_browser=open_browser), seconds=wait) as browser,
    ):
        done = oauth.login(acr, fido, scope=scope, force=force, browser=browser)
    _show(done, as_json=as_json)


@app.command()
def call(
    url: Annotated[str, typer.Argument(help="Of the protected resource, on the server that issued the tokens.")],
    *,
    method: Annotated[
        str, typer.Option("--request", "-X", help="The method.", show_default="GET, POST with --data")
    ] = "",
    data: Annotated[str | None, typer.Option(metavar="JSON", help="A body.")] = None,
    name: PhoneName = "phone",
    home: Home = None,
    deny: DenyOption = False,
    insecure: Insecure = False,
) -> None:
    """Call a protected resource and print what it answers; exit 1 where that is an error."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    body = None
    if data is not None:
        try:
            body = json.loads(data)
        except ValueError:
            raise typer.BadParameter("not JSON", param_hint="--data") from None
    base = f"{parts.scheme}://{parts.netloc}"
    with existing_profile(name, home) as profile, _opened(profile, base, deny=deny, insecure=insecure) as (oauth, _):
        answer = oauth.call(method.upper() or ("GET" if body is None else "POST"), path, body)
    typer.echo(answer.body.decode("utf-8", "replace"))
    if answer.status >= 400:
        challenge = answer.headers.get("www-authenticate")
        note(f"{answer.status}" + (f": {challenge}" if challenge else ""))
        stronger = _STEP_UP.search(challenge or "")
        if stronger is not None:
            note(f"next: `fidoloop phone app login --server {base} --acr ACR`, ACR being one of {stronger[1]}")
        raise typer.Exit(Exit.REFUSED)


@app.command("list")
def list_apps(*, name: PhoneName = "phone", home: Home = None, as_json: Json = False) -> None:
    """List where the app is registered, and who is logged in there for what. No server is asked."""
    with existing_profile(name, home) as profile:
        state = AppState(profile.database)
        rows = [_row(known) for url in state.servers() if (known := state.load(url)) is not None]
    show_rows(as_json, "apps", ("server", "client", "username", "acr", "scope", "until"), rows)


@app.command()
def refresh(
    *,
    server: ServerUrl,
    name: PhoneName = "phone",
    home: Home = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Exchange the refresh token for new tokens."""
    with existing_profile(name, home) as profile, _opened(profile, server, deny=True, insecure=insecure) as (oauth, _):
        tokens = oauth.refresh()
    show({"scope": tokens.scope, "acr": tokens.acr}, f"refreshed: scope {cell(tokens.scope)}", as_json=as_json)


@app.command()
def logout(
    *,
    server: ServerUrl,
    unregister: Annotated[bool, typer.Option("--unregister", help="Delete the app there, and its keys here.")] = False,
    name: PhoneName = "phone",
    home: Home = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Revoke the tokens and forget them."""
    with existing_profile(name, home) as profile, _opened(profile, server, deny=True, insecure=insecure) as (oauth, _):
        if unregister:
            oauth.unregister()
        else:
            oauth.logout()
    show({"unregistered": unregister}, "the app is unregistered" if unregister else "logged out", as_json=as_json)


def _send(url: str, *, open_browser: bool) -> None:
    """Send a person's browser to a URL: say it, and open it where that is wanted."""
    note(f"Open this in a browser on this machine: {url}")
    if open_browser and not webbrowser.open(url):
        note("no browser can be opened here")


def _unregister(oauth: OAuthApp) -> None:
    """Take the registration back, as far as the server can be told."""
    try:
        oauth.unregister()
    except BridgeError as error:
        note(f"the app is still registered, its keys are still in the token: {error}")


def _row(known: App) -> dict[str, Any]:
    """Return a row of what is known of a server; `until` the access token, which is refreshed, is good."""
    tokens = known.tokens
    return {
        "server": known.base_url,
        "client": known.client_id,
        "username": tokens and tokens.username,
        "acr": tokens and tokens.acr,
        "scope": tokens and tokens.scope,
        "until": iso(None if tokens is None else 1000 * tokens.expires_at),
    }


def _show(done: LoggedIn, *, as_json: bool) -> None:
    words = "logged in" if done.fresh else "logged in already"
    show(
        {"username": done.username, "acr": done.acr, "scope": done.scope, "fresh": done.fresh},
        f"{words} as {cell(done.username)} (acr {cell(done.acr)}, scope {cell(done.scope)})",
        as_json=as_json,
    )


@contextmanager
def _opened(
    profile: Profile, base_url: str, *, deny: bool, insecure: bool, keys: str | None = None
) -> Iterator[tuple[OAuthApp, PhoneFido]]:
    settings = profile.settings()
    with (
        open_phone(profile, yes=True, deny=deny, insecure=insecure, keys=keys) as phone,
        Server(base_url, ca=Path(settings.ca) if settings.ca else None, insecure=insecure) as server,
    ):
        oauth = OAuthApp(
            server, phone.store, AppState(profile.database), observer=lambda step, detail: note(f"{step}: {detail}")
        )

        @contextmanager
        def passkeys() -> Iterator[Passkeys]:
            verifier = verifier_of(Verification(settings.verification), phone.store, deny=deny)
            with Passkeys(profile.path, phone.store, verifier) as opened:
                yield opened

        with PhoneFido(phone, server.base_url, passkeys) as fido:
            yield oauth, fido
