"""Entry point: assembles the command groups."""

from typing import Annotated

import typer

import fidoloop

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=fidoloop.__doc__)


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Run the mobile / laptop / server login loop with real key hardware."""
    if version:
        typer.echo(f"fidoloop {fidoloop.__version__}")
        raise typer.Exit


def run() -> None:
    """Run the command line."""
    app()
