"""Running `fidoloop`: in this process where one is enough, else in one of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from typer.testing import CliRunner

from fidoloop.cli.exits import exit_for
from fidoloop.cli.main import app
from fidoloop.protocol import strictjson

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
_LISTEN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{_LISTEN}; from fidoloop.cli import run; run()"]
OURS = (
    "FIDOLOOP_PIN",
    "FIDOLOOP_CARD_PIN",
    "FIDOLOOP_API_KEY",
    "XDG_STATE_HOME",
    "FORCE_COLOR",
    "TTY_COMPATIBLE",
    "COLUMNS",
)


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:  # noqa: ANN401  # JSON
        """Standard output as the one JSON object it must be."""
        value = strictjson.loads(self.out)
        assert isinstance(value, dict)
        return value


def environment(**ours: str | None) -> dict[str, str]:
    """This process's environment without what would change the command's mind, and with `ours`."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return inherited | {name: value for name, value in ours.items() if value is not None}


def invoke(*arguments: str, pin: str | None = None, api_key: str | None = None) -> Done:
    """Run a command in this process; nobody is at its terminal. Its exit code is that of the command line's table."""
    env = dict.fromkeys(OURS) | {"FIDOLOOP_PIN": pin, "FIDOLOOP_API_KEY": api_key}
    result = CliRunner().invoke(app, list(arguments), env=env, prog_name="fidoloop")
    error = result.exception
    if error is None or isinstance(error, SystemExit):
        return Done(result.exit_code, result.stdout, result.stderr)
    code = exit_for(error)
    if code is None:
        raise error
    return Done(code, result.stdout, f"{result.stderr}error: {error}\n")


def run(
    *arguments: str,
    pin: str | None = None,
    api_key: str | None = None,
    card_pin: str | None = None,
    typed: str = "",
) -> Done:
    """Run a command in a process of its own."""
    env = environment(FIDOLOOP_PIN=pin, FIDOLOOP_API_KEY=api_key, FIDOLOOP_CARD_PIN=card_pin)
    done = subprocess.run([*COMMAND, *arguments], input=typed, capture_output=True, text=True, check=False, env=env)
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(*arguments: str, **ours: str | None) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process of its own; it is ended where the test does not wait for it."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**ours),
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line_with(process: subprocess.Popen[str], beginning: str) -> str:
    """Read standard error up to the line that begins so, and return what follows in it."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(beginning):
            return line.removeprefix(beginning).strip()
    raise AssertionError(f"the command ended without saying {beginning!r}")
