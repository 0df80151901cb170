"""`fidoloop demo --web`: the page in a browser, the phone at a terminal."""

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fidoloop.cli.exits import Exit
from tests.cli.command import COMMAND, environment, run
from tests.web.browser import Tab
from tests.web.reading import read_code


@dataclass
class Terminal:
    """The terminal that the demonstration runs in."""

    process: "subprocess.Popen[bytes]"
    leader: int
    unread: str = ""

    def wait_for(self, pattern: str) -> str:
        """Read up to what matches `pattern`, and return that."""
        while (found := re.search(pattern, self.unread)) is None:
            self.unread += os.read(self.leader, 4096).decode(errors="replace")
        self.unread = self.unread[found.end() :]
        return found[0]

    def type(self, text: str) -> None:
        os.write(self.leader, f"{text}\n".encode())


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "demo", "--web"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment() | {"TERM": "dumb"},
        start_new_session=True,
    ) as process:
        os.close(follower)
        try:
            yield Terminal(process, leader)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(leader)


def test_one_command_shows_page_and_phone(terminal: Terminal, tab: Tab, tmp_path: Path) -> None:
    url = terminal.wait_for(r"https://localhost:\d+/")
    terminal.wait_for("Ctrl-C ends")
    tab.go(url)
    tab.state("waiting")
    tab.fill("#username", "alice")
    tab.click("text=Send to my phone")
    terminal.wait_for(r"Go on\?")
    terminal.type("y")
    terminal.wait_for(r"Which number")
    assert tab.state("redeemed") == "redeemed"
    terminal.type(tab.text("#number"))
    terminal.wait_for(r"Approve\?")
    terminal.type("y")
    tab.wait_for_text("#words", "You are alice")
    tab.click("text=Confirm a payment")
    tab.do(lambda: tab.page.wait_for_selector("#device option:nth-child(2)", state="attached"))
    tab.click("text=Have it confirmed")
    read_code(tab, tmp_path)
    terminal.type(str(tmp_path / "screen.png"))
    terminal.wait_for(r"Go on\?")
    terminal.type("y")
    terminal.wait_for(r"you confirm: Pay 25.00 to ACME Ltd")
    terminal.type("n")
    tab.state("failed")
    assert tab.text("#words") == "You said no on your phone. Nothing was confirmed."
    terminal.wait_for("not followed")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(timeout=60) == Exit.OK


@pytest.mark.parametrize("other", ["--json", "--oauth"])
def test_a_demonstration_in_a_browser_has_no_record_and_no_other_walk(other: str) -> None:
    assert run("demo", "--web", other).code == Exit.USAGE
