"""The tutorial, typed as it stands into a shell at a terminal, and what is seen compared with what it shows.

It takes some ten seconds: it is the one test in which somebody does what a newcomer does.
"""

import os
import re
import socket
from pathlib import Path

from .blocks import DOCS, ROOT, blocks
from .terminal import Terminal

TUTORIAL = DOCS / "tutorial" / "first-log-in.md"
PIN = "123456"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(home: Path, port: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(home), "FIDOLOOP_SERVER_PORT": str(port)}


def pattern(line: str) -> str:
    """Return what a shown line matches: … is anything, and what follows a question is the answer.

    A question has been asked when the space behind it is there: before that, what is typed is thrown away.
    """
    shown = line.rstrip()
    if line.endswith("[y/N]: y"):
        shown = shown.removesuffix("y")
    elif line.startswith("PIN"):
        shown += " "
    return ".*".join(re.escape(part) for part in shown.split("…"))


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    port = free_port()
    typed = 0
    with Terminal(ROOT, environment(tmp_path, port)) as terminal:
        terminal.expect(r"\$ ", "a prompt")
        for block in blocks(TUTORIAL):
            text = block.text.replace("8443", str(port))
            for line in text.splitlines():
                if block.language == "sh":
                    terminal.enter(line)
                    typed += 1
                elif block.language == "text":
                    terminal.expect(pattern(line), f"{block}: {line}")
                    if line.startswith("PIN"):
                        terminal.enter(PIN)
                    elif line.endswith("[y/N]: y"):
                        terminal.enter("y")
        terminal.enter("wait; jobs; echo finished")
        terminal.expect(r"\nfinished", "the end")
    assert typed > 20
    assert "error:" not in terminal.screen
    assert "Traceback" not in terminal.screen
