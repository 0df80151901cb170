"""Entry point: the command groups, each imported when it is wanted."""

import gc
import importlib
import json
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

import fidoloop

_GROUPS = {
    "keys": "Keys in a token, named by a key-store URI.",
    "card": "A virtual PIV card in a virtual reader: keys in software, for labs.",
    "phone": "The phone: enrol, log in, confirm, deregister, with keys in a token.",
    "laptop": "The laptop: query targets, dispatch a token, follow the status.",
    "server": "The relying party: run it, and look after its users and keys.",
}
_COMMANDS = {
    "demo": "Run the whole loop: registration, a log-in in thirteen steps, a transaction confirmation, a"
    " deregistration.",
    "verify": "Print what each assertion says and which rules hold; exit 0 if it verifies, 1 if not.",
    "inspect": "Take apart UAF messages, assertions, payloads, tokens, certificates, CTAP, APDUs, QR codes: byte by"
    " byte.",
    "doctor": "Look at packages, key hardware, readers, radio, camera, clock and files, and say how to fix what is not"
    " right.",
    "load": "Enrol simulated phones and log them in, as many as go or at a rate; print log-ins a second, latencies,"
    " errors.",
}
DESCRIBED = _GROUPS | _COMMANDS
"""What stands in the first lines of the commands' own help, here so that nobody has to import them to list them."""


class _Lazy(TyperGroup):
    """Imports a command's module when it is run: what all of them need would take more than a second."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  # the base's signature
        """Return the names of the commands."""
        return list(DESCRIBED)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # the base's signature
        """List the commands as they are described here."""
        with self._listed():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:  # noqa: ANN401  # the base's signature
        """Offer the commands as they are described here."""
        with self._listed():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _listed(self) -> Iterator[None]:
        self._listing = True
        try:
            yield
        finally:
            self._listing = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  # the base's signature
        """Return the command of this name, None where there is none."""
        if cmd_name not in DESCRIBED:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=DESCRIBED[cmd_name])
        if cmd_name not in self.commands:
            module = importlib.import_module(f"fidoloop.cli.{cmd_name}")
            gc.enable()
            alone = typer.Typer(add_completion=False)
            if cmd_name in _GROUPS:
                alone.add_typer(module.app, name=cmd_name)
            else:
                alone.command(cmd_name)(getattr(module, cmd_name))
            self.commands[cmd_name] = _flowing(get_group(alone).commands[cmd_name])
        return self.commands[cmd_name]


_BREAK = re.compile(r"(?<=\S)\n(?=\S)")


def _flowing(command: Any) -> Any:  # noqa: ANN401  # click's Command, which typer carries itself
    """Have the lines of a command's help, which are a docstring's, broken where the terminal is."""
    command.help = _BREAK.sub(" ", command.help or "")
    for each in getattr(command, "commands", {}).values():
        _flowing(each)
    return command


app = typer.Typer(cls=_Lazy, invoke_without_command=True, pretty_exceptions_enable=False, help=fidoloop.__doc__)

_START = """\
fidoloop: the whole mobile / laptop / server log-in loop, with real key hardware, on one machine

See it     fidoloop demo                  thirteen steps on a SoftHSM token; --web in a browser, --oauth for OAuth
In a lab   fidoloop keys tokens           the tokens and cards of this machine, each with its URI
           fidoloop keys check URI        whether yours can do it
           fidoloop demo --keys URI       the loop on yours; by hand: docs/tutorial/first-log-in.md
In CI      pytest --fixtures              fidoloop_token, fidoloop_server, fidoloop_phone … are installed with it
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
    # What imports make stays: looking through it for garbage would take a sixth of their time.
    gc.disable()
    _leave_no_core()
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


def _leave_no_core() -> None:
    """Have neither this process nor those it starts write its memory, in which PINs and tokens are, to a disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
