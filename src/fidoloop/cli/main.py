"""Entry point: assembles the command groups."""

import json
import sys
from typing import Annotated

import typer

import fidoloop
from fidoloop.cli import demo, keys, laptop, phone, server, verify
from fidoloop.cli.exits import exit_for

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=fidoloop.__doc__)
app.add_typer(keys.app, name="keys")
app.add_typer(phone.app, name="phone")
app.add_typer(laptop.app, name="laptop")
app.command("demo")(demo.demo)
app.add_typer(server.app, name="server")
app.command("verify")(verify.verify)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fidoloop {fidoloop.__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Run the mobile / laptop / server login loop with real key hardware."""


def run() -> None:
    """Run the command line; errors of our families end in one line (with --json: one object) and their exit code."""
    try:
        app()
    except Exception as error:
        code = exit_for(error)
        if code is None:
            raise
        if "--json" in sys.argv[1:]:
            typer.echo(json.dumps({"error": getattr(error, "code", type(error).__name__), "detail": str(error)}))
        else:
            typer.echo(f"error: {error}", err=True)
        sys.exit(code)
