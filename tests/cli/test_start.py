"""Where to start, what to do next, and Tab."""

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import fidoloop
from fidoloop.authenticator.errors import AsmError
from fidoloop.bridge.errors import ClientFailureError, ServerRefusedError
from fidoloop.bridge.oauth.errors import NotEnrolledError, OAuthRefusedError
from fidoloop.cli.advice import ADVICE, advice_for
from fidoloop.cli.exits import TABLE, Exit, exit_for
from fidoloop.cli.main import DESCRIBED, app
from fidoloop.protocol.uaf.status import AsmStatus, ClientError, StatusCode

from .command import environment, invoke

COMMAND = Path(sys.executable).with_name("fidoloop")


def test_without_arguments_it_says_where_to_start() -> None:
    done = invoke()
    assert (done.code, done.err) == (Exit.OK, "")
    for path in ("See it", "In a lab", "In CI"):
        assert path in done.out


def test_every_command_that_is_named_as_a_start_or_as_advice_is_there() -> None:
    said = invoke().out + "\n".join(ADVICE.values())
    named = set(re.findall(r"fidoloop ([a-z]+(?:[ -][a-z]+)*)", said))
    assert len(named) > 15
    for words in sorted(named):
        done = invoke(*words.split(), "--help")
        assert done.code == Exit.OK, words


def families() -> Iterator[type[BaseException]]:
    """Every error that the table knows an exit code for, and all below them, wherever they are defined."""
    for module in pkgutil.walk_packages(fidoloop.__path__, "fidoloop."):
        if module.name.split(".")[1] in {"bridge", "server", "hsm", "protocol", "authenticator"}:
            importlib.import_module(module.name)
    waiting = [family for family, _ in TABLE]
    while waiting:
        kind = waiting.pop()
        yield kind
        waiting += kind.__subclasses__()


def test_every_error_with_an_exit_code_has_advice() -> None:
    kinds = set(families())
    assert len(kinds) > 50
    without = [kind.__name__ for kind in kinds if not any(base.__name__ in ADVICE for base in kind.__mro__)]
    assert not without
    gone = ADVICE.keys() - {kind.__name__ for kind in kinds} - {"OSError"}
    assert not gone, "advice for errors that are no more"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ServerRefusedError(401, "no"), "FIDOLOOP_API_KEY"),
        (ServerRefusedError(StatusCode.REQUEST_TIMEOUT, "late"), "dispatched again"),
        (ServerRefusedError(500, "oops"), "server audit"),
        (ClientFailureError(ClientError.NO_SUITABLE_AUTHENTICATOR, "none"), "policy check"),
        (ClientFailureError(ClientError.PROTOCOL_ERROR, "no"), "phone list"),
        (OAuthRefusedError(400, "invalid_scope", "no"), "device policy"),
        (OAuthRefusedError(403, "access_denied", "it does not verify (UAF status 1480)"), "metadata add"),
        (OAuthRefusedError(403, "access_denied", "no"), "server audit"),
        (AsmError(AsmStatus.AUTHENTICATOR_DISCONNECTED, "gone"), "put in the card or token"),
        (NotEnrolledError("nobody"), "phone app enroll"),
        (FileNotFoundError(2, "no such file", "x"), "path"),
    ],
)
def test_advice_fits_the_case(error: Exception, said: str) -> None:
    assert exit_for(error) is not None
    assert said in advice_for(error)


def test_what_is_no_error_of_ours_has_no_advice() -> None:
    assert advice_for(ZeroDivisionError()) == ""


def completed(*words: str) -> set[str]:
    """Return what bash would offer for the last of `words`."""
    asked = {"_FIDOLOOP_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(("fidoloop", *words))}
    done = subprocess.run(
        [COMMAND],
        env=environment(**asked, COMP_CWORD=str(len(words))),
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("",), {"demo", "doctor", "inspect", "phone", "server"}),
        (("pho",), {"phone"}),
        (("phone", "reg"), {"register"}),
        (("server", "metadata", "a"), {"add"}),
        (("inspect", "--a"), {"--as"}),
    ],
)
def test_tab_completes_commands_and_options(words: tuple[str, ...], offered: set[str]) -> None:
    assert completed(*words) >= offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    asked = {"_FIDOLOOP_COMPLETE": f"source_{shell}"}
    done = subprocess.run([COMMAND], env=environment(**asked), capture_output=True, text=True, check=True)
    assert f"_FIDOLOOP_COMPLETE=complete_{shell}" in done.stdout


@pytest.mark.parametrize("name", DESCRIBED)
def test_the_list_of_commands_says_what_their_own_help_says(name: str) -> None:
    command: Any = get_command(app)
    own = command.get_command(None, name).help
    assert DESCRIBED[name] == " ".join(own.partition("\n\n")[0].split())


def test_the_list_of_commands_imports_none_of_them() -> None:
    script = (
        "import sys; from fidoloop.cli.main import app; app(['--help'], standalone_mode=False);"
        "print([name for name in sys.modules if name.startswith(('fidoloop.cli.', 'fidoloop.server', 'cryptography'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['fidoloop.cli.main']"
    assert "The relying party" in done.stdout
