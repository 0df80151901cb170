"""`fidoloop server`: runs the server, and what its operator does."""

from typing import Annotated

import typer

from fidoloop.cli import (
    server_accounts,
    server_backup,
    server_config,
    server_keys,
    server_metadata,
    server_migrate,
    server_oauth,
    server_passkey,
    server_policy,
)
from fidoloop.cli.server_common import BaseUrl, Home, Json, say
from fidoloop.cli.server_config import Set, options_of
from fidoloop.server.config import default_home
from fidoloop.server.run import Listening, run_server
from fidoloop.server.settings.declared import LogFormat

app = typer.Typer(no_args_is_help=True, help="The relying party: run it, and look after its users and keys.")


@app.command()
def run(  # noqa: PLR0917 - each is an option
    home: Home = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.", show_default="8443")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that serve, all on this port.", show_default="1")
    ] = None,
    tls_dev: Annotated[bool, typer.Option("--tls-dev", help="TLS by the lab CA in HOME/tls (the default).")] = False,
    tls_cert: Annotated[
        str | None, typer.Option(metavar="PEM", help="TLS by this certificate, its chain behind it.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="PEM", help="The certificate's private key.")] = None,
    insecure: Annotated[bool | None, typer.Option("--insecure", help="Plain http, on a loopback address only.")] = None,
    base_url: BaseUrl = None,
    log_format: Annotated[
        LogFormat | None, typer.Option(help="Log lines on standard error.", show_default="plain")
    ] = None,
    access_log: Annotated[bool | None, typer.Option("--access-log", help="Log one line per request.")] = None,
    lab: Annotated[
        bool | None,
        typer.Option("--lab", help="The lab console /lab: watch log-ins, inject faults; docs/lab-console.md."),
    ] = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Run the server until it is interrupted; one line on standard output says when it listens.

    Every option and further settings may stand in HOME/fidoloop.toml or the environment too: docs/configuration.md.
    """
    if tls_dev:
        for given, name in ((insecure, "--insecure"), (tls_cert, "--tls-cert"), (tls_key, "--tls-key")):
            if given:
                raise typer.BadParameter(f"--tls-dev is TLS by the lab CA, and excludes {name}")
        insecure, tls_cert, tls_key = False, "", ""
    options = options_of(
        settings,
        host=host,
        port=port,
        workers=workers,
        insecure=insecure,
        base_url=base_url,
        log_format=log_format,
        access_log=access_log,
        lab=lab,
        **{"tls.cert": tls_cert, "tls.key": tls_key},
    )

    def announce(listening: Listening) -> None:
        ca = str(listening.ca) if listening.ca else None
        trust = f" (CA certificate: {ca})" if ca else " (plain http)" if listening.url.startswith("http:") else ""
        members = {"url": listening.url, "port": listening.port, "ca": ca}
        text = f"listening on {listening.url}{trust}"
        if listening.lab:
            members["lab"] = listening.lab
            text += f"\nlab console, good once: {listening.lab}"
        say(as_json, members, text)

    run_server(home or default_home(), options, announce)


for _name, _group in (
    ("user", server_accounts.user_app),
    ("apikey", server_accounts.apikey_app),
    ("credential", server_keys.credential_app),
    ("passkey", server_passkey.app),
    ("target", server_keys.target_app),
    ("metadata", server_metadata.app),
    ("policy", server_policy.app),
    ("oauth", server_oauth.app),
):
    app.add_typer(_group, name=_name)
for _command in (
    server_accounts.enrol,
    server_keys.audit,
    server_config.config,
    server_migrate.migrate,
    server_backup.backup,
    server_backup.restore,
):
    app.command()(_command)
