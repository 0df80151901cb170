"""What the commands share: where state lives, options, and how results are printed."""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fidoloop.authenticator.models import Form
from fidoloop.protocol.uaf.registry import UserVerification

T = TypeVar("T")
_PIPE_COLUMNS = 10_000
_PAGE_COLUMNS = 120
_WORD = re.compile(r"[\d.]+ (?:B|ms)\b|\S+")
_WIDEST = 1_000_000

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Where state is kept.", show_default="$XDG_STATE_HOME/fidoloop"),
]
PhoneName = Annotated[str, typer.Option("--name", help="Which phone: each has a profile of its own.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow plain http, on the loopback only.")]


class Verification(StrEnum):
    """How a phone verifies its user: chosen once, since the registered model claims it."""

    PIN = "pin"
    PROMPT = "prompt"
    AUTO = "auto"

    @property
    def method(self) -> UserVerification:
        """What the models of such a phone claim."""
        return _METHODS[self]


_METHODS = {
    Verification.PIN: UserVerification.PASSCODE,
    Verification.PROMPT: UserVerification.PRESENCE,
    Verification.AUTO: UserVerification.NONE,
}


FormOption = Annotated[
    Form, typer.Option("--form", help="What the phone's authenticators are; a display needs somebody who looks.")
]


def check_form(form: Form, verification: Verification) -> None:
    """Refuse a display where nobody is asked. Raises typer.BadParameter."""
    if verification is Verification.AUTO and form in {Form.IMAGE_DISPLAY, Form.HASH_DISPLAY}:
        raise typer.BadParameter(f"{form.value} needs --uv pin or prompt: with auto nobody looks", param_hint="--form")


def home_directory(home: Path | None) -> Path:
    """Return the directory of all state: --home, else $XDG_STATE_HOME/fidoloop, else ~/.local/state/fidoloop."""
    if home is not None:
        return home
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "fidoloop"


def phone_path(home: Path | None, name: str) -> Path:
    """Return the file of the phone called `name`. Raises typer.BadParameter."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise typer.BadParameter("letters, digits, - and _ only", param_hint="--name")
    return home_directory(home) / "phone" / f"{name}.sqlite"


def phone_names(home: Path | None) -> list[str]:
    """Return the names of the phones that have a file, in the order of the alphabet."""
    return sorted(path.stem for path in (home_directory(home) / "phone").glob("*.sqlite"))


def show(value: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print `value` as one JSON object, or `text`, which may bear rich's markup, for people."""
    if as_json:
        typer.echo(json.dumps(value))
    else:
        console().print(text, soft_wrap=True)


def note(text: str) -> None:
    """Tell people something on standard error, where it disturbs no script; one line, whatever stands in it."""
    console(stderr=True).print(printable(text), markup=False, soft_wrap=True)


def show_rows(as_json: bool, name: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Print `rows` as a table of `columns`, or as one JSON object that has them under `name`."""
    if as_json:
        typer.echo(json.dumps({name: rows}))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(cell("" if row[column] is None else str(row[column])) for column in columns))
    print_table(table, f"no {name}")


def print_table(table: Table, empty: str) -> None:
    """Print `table`, or `empty` where it has no rows; on a terminal too narrow for it row by row, so none is cut."""
    shown = console()
    wanted = Measurement.get(shown, shown.options.update(width=_WIDEST), table).maximum
    if not table.rows:
        shown.print(empty)
    elif wanted <= shown.width:
        shown.print(table)
    else:
        width = max(len(str(column.header)) for column in table.columns)
        for row in zip(*(column.cells for column in table.columns), strict=True):
            for column, text in zip(table.columns, row, strict=True):
                shown.print(f"[bold]{column.header!s:{width}}[/bold]  {text}", soft_wrap=True)
            shown.print()


def print_hanging(console: Console, lead: str, text: str, *, deeper: int = 0) -> None:
    """Print `text`, which may bear rich's markup, behind `lead`, its further lines as far in as its first or `deeper`.

    It is broken between words where the terminal ends; a pipe has pages of 120 columns. A word that is longer than a
    line, such as a link, stays whole, to be copied.
    """
    width = console.width if console.is_terminal else _PAGE_COLUMNS
    room, indent = width - len(lead), " " * (len(lead) + deeper)
    shown = Text.from_markup(text)
    breaks, begin = list[int](), 0
    for word in _WORD.finditer(shown.plain):
        if word.start() > begin and cell_len(shown.plain[begin : word.end()]) > room:
            begin, room = word.start(), width - len(indent)
            breaks.append(begin)
    for number, line in enumerate(shown.divide(breaks)):
        line.rstrip()
        console.print(Text(indent if number else lead).append_text(line), soft_wrap=True)


def iso(millis: int | None) -> str | None:
    """Return epoch milliseconds as ISO 8601 in UTC."""
    if millis is None:
        return None
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as its terminal; a pipe has no width, and nothing in it is squeezed or cut."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _PIPE_COLUMNS)


def printable(text: str) -> str:
    """Return `text` with control characters spelled out: what others sent must not drive the terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def cell(text: str) -> str:
    """Return `text`, which somebody else chose, as rich prints it literally."""
    return escape(printable(text))


def answer(ask: Callable[[], T]) -> T | None:
    """Return the user's answer; None for Ctrl-C and Ctrl-D, which say no."""
    try:
        return ask()
    except typer.Abort:
        return None


def interactive() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty()
