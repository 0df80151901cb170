"""Entry point: the command groups, each imported when it is wanted."""

import importlib
import json
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

import fidoloop

_GROUPS = ("keys", "card", "phone", "laptop", "server")
_COMMANDS = ("demo", "verify", "inspect", "doctor", "load")


class _Lazy(TyperGroup):
    """Imports a command's module when it is run or described: what the others need would take most of a second."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  # the base's signature
        """Return the names of the commands."""
        return [*_GROUPS, *_COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  # the base's signature
        """Return the command of this name, None where there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        if cmd_name not in self.commands:
            module = importlib.import_module(f"fidoloop.cli.{cmd_name}")
            alone = typer.Typer(add_completion=False)
            if cmd_name in _GROUPS:
                alone.add_typer(module.app, name=cmd_name)
            else:
                alone.command(cmd_name)(getattr(module, cmd_name))
            self.commands[cmd_name] = get_group(alone).commands[cmd_name]
        return self.commands[cmd_name]


app = typer.Typer(cls=_Lazy, invoke_without_command=True, pretty_exceptions_enable=False, help=fidoloop.__doc__)

_START = """\
fidoloop: the whole mobile / laptop / server log-in loop, with real key hardware, on one machine

See it     fidoloop demo                  thirteen steps on a SoftHSM token; --web in a browser, --oauth for OAuth
In a lab   fidoloop keys tokens           the tokens and cards of this machine, each with its URI
           fidoloop keys check URI        whether yours can do it
           fidoloop demo --keys URI       the loop on yours; by hand: README, “The loop by hand”
In CI      pytest --fixtures              fidoloop_token, fidoloop_lab, fidoloop_phone … are installed with it
           fidoloop verify FILE --strict  is this UAF response right? Exit code 0 or 1; --json for scripts

Stuck?     fidoloop doctor                what this machine lacks, and how to get it
           fidoloop inspect FILE          what is in this message, token, certificate, APDU, QR code?
All        fidoloop --help                every command; fidoloop --install-completion completes them by Tab
"""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fidoloop {fidoloop.__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Run the mobile / laptop / server login loop with real key hardware."""
    if context.invoked_subcommand is None:
        typer.echo(_START, nl=False)


def run() -> None:
    """Run the command line; errors of our families end in what to do next (with --json: one object), and their code."""
    try:
        app()
    except Exception as error:
        from fidoloop.cli.advice import advice_for
        from fidoloop.cli.common import printable
        from fidoloop.cli.exits import exit_for

        code = exit_for(error)
        if code is None:
            raise
        advice = advice_for(error)
        if "--json" in sys.argv[1:]:
            said = {"error": getattr(error, "code", type(error).__name__), "detail": str(error), "next": advice}
            typer.echo(json.dumps(said))
        else:
            typer.echo(f"error: {printable(str(error))}\nnext: {advice}", err=True)
        sys.exit(code)
