"""What every command shares: how it starts, prints and describes itself."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from rich.table import Table
from typer.main import get_command

from fidoloop.cli.common import cell, console, note, print_table, printable, show
from fidoloop.cli.exits import Exit
from fidoloop.cli.main import DESCRIBED, app
from tests.cli.command import environment, invoke, run

HOSTILE = "\x1b[2J\x07\u202e\n\t[red]x[/red]"
HARMLESS = r"\x1b[2J\x07\u202e\n\t[red]x[/red]"


def test_what_others_sent_is_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(HOSTILE) == HARMLESS
    note(HOSTILE)
    show({}, f"[bold]{cell(HOSTILE)}[/bold]", as_json=False)
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [HARMLESS]
    assert printed.out.splitlines() == [HARMLESS]


def test_nothing_is_squeezed_or_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    table = Table("a", "b", "c")
    table.add_row(long, long, "end")
    console().print(table)
    note(long + " " + long)
    show({}, long + " " + long, as_json=False)
    printed = capsys.readouterr()
    assert sum(long in line and "end" in line for line in printed.out.splitlines()) == 1
    assert printed.err.splitlines() == [long + " " + long]
    assert printed.out.splitlines()[-1] == long + " " + long


def test_a_table_that_its_terminal_is_too_narrow_for_is_printed_row_by_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fidoloop.cli.common._PIPE_COLUMNS", 40)
    long = "x" * 100
    table = Table("key", "user")
    table.add_row(long, cell(HOSTILE))
    print_table(table, "no keys")
    assert capsys.readouterr().out.splitlines() == [f"key   {long}", f"user  {HARMLESS}", ""]
    print_table(Table("key"), "no keys")
    assert capsys.readouterr().out == "no keys\n"


def test_json_is_one_object_whatever_stands_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    show({"a": HOSTILE}, "not this", as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"a": HOSTILE}


COMMANDS = ("keys", "card", "phone", "laptop", "server", "demo", "verify", "inspect", "doctor")


def test_help_names_every_command() -> None:
    done = invoke("--help")
    assert done.code == Exit.OK
    for name in COMMANDS:
        assert f" {name} " in done.out


@pytest.mark.parametrize(
    "words",
    [
        ("keys",),
        *(("keys", name) for name in ("list", "generate", "delete", "info", "attest-init", "metadata")),
        ("phone",),
        *(("phone", name) for name in ("register", "login", "scan", "confirm", "deregister", "list")),
        ("laptop",),
        ("laptop", "login"),
        ("demo",),
        ("verify",),
        ("inspect",),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_every_command_says_what_it_does(words: tuple[str, ...]) -> None:
    done = invoke(*words, "--help")
    assert done.code == Exit.OK
    assert f"Usage: fidoloop {' '.join(words)}" in done.out
    # Every option is described: none stands alone on its line.
    table = [line.strip("│ *") for line in done.out.splitlines() if line.startswith("│")]
    options = [line for line in table if line.startswith("--")]
    assert options
    for line in options:
        assert len(line.split("  ")) > 1, line


def every_command() -> list[tuple[str, ...]]:
    """Return the words of every command and group."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - typer's own click
        yield words
        for name, each in getattr(command, "commands", {}).items():
            yield from below(each, (*words, name))

    root: Any = get_command(app)
    return [words for name in DESCRIBED for words in below(root.get_command(None, name), (name,))]


def test_no_help_is_cut_at_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    commands = every_command()
    assert len(commands) > 80
    for words in commands:
        get_command(app).main([*words, "--help"], "fidoloop", standalone_mode=False)
        shown = capsys.readouterr().out
        assert f"fidoloop {' '.join(words)}" in shown
        assert all(len(line) <= 80 for line in shown.splitlines()), words
        # The ends of words that stand for any; a cut one stands at a column's end.
        assert not re.search(r"\w… +│$", shown, re.M), words


def test_the_lines_of_help_are_broken_where_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    get_command(app).main(["server", "restore", "--help"], "fidoloop", standalone_mode=False)
    text = capsys.readouterr().out.partition("╭")[0]
    paragraphs = [paragraph.splitlines() for paragraph in re.split(r"\n\s*\n", text.strip())]
    for lines in paragraphs:
        for line, following in pairwise(lines):
            first = following.split(maxsplit=1)[0]
            assert len(line.rstrip()) + 1 + len(first) > 78, f"{first!r} had room in the line above"


@pytest.mark.parametrize("words", [("dance",), ("keys", "dance"), ("--nonsense",), ("demo", "dance")])
def test_what_there_is_not_is_wrong_usage(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert "Traceback" not in done.err


def test_the_version_is_said_without_importing_a_command() -> None:
    script = (
        "import sys; from fidoloop.cli.main import app; app(['--version'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment())
    version, modules = done.stdout.splitlines()
    assert version.startswith("fidoloop 0.")
    for heavy in ("pkcs11", "cryptography", "httpx2", "uvicorn", "PIL"):
        assert heavy not in modules.split()


def test_an_error_of_ours_ends_in_what_to_do_next() -> None:
    done = run("keys", "list", "nonsense")
    assert (done.code, done.out) == (Exit.USAGE, "")
    error, advice = done.err.splitlines()
    assert error.startswith("error: ")
    assert advice == "next: `fidoloop keys tokens` lists what is there, each with its URI"
    as_json = run("keys", "list", "nonsense", "--json")
    assert (as_json.code, as_json.json.keys(), as_json.err) == (Exit.USAGE, {"error", "detail", "next"}, "")
    assert as_json.json["next"] == advice.removeprefix("next: ")
