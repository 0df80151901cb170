"""The loop drawn in a terminal while it runs."""

import re
import sys
from itertools import permutations
from pathlib import Path

import pytest

from fidoloop.cli.demo_drawing import LANES, NARROWEST, arrow, head
from fidoloop.messages import Message, Party
from tests.cli.command import environment
from tests.manual.terminal import Terminal

NAME = "POST /nevisfido/token/dispatch/authentication: getUafRequest, dispatchTargetId, …"


@pytest.mark.parametrize("width", [NARROWEST, 100, 120, 300])
@pytest.mark.parametrize(("sender", "receiver"), list(permutations(LANES, 2)))
def test_an_arrow_goes_from_lane_to_lane_and_fits(sender: Party, receiver: Party, width: int) -> None:
    line = arrow(Message(sender, receiver, NAME, 1234, 0.0, 5.0), width).plain
    assert len(line) <= width
    lanes = [found.start() for found in re.finditer("│", arrow(message(), width).plain)]
    begin, end = (lanes[LANES.index(party)] for party in (sender, receiver))
    assert line[begin] == line[end] == "│"
    assert line[end - 1 if end > begin else end + 1] == ("▶" if end > begin else "◀")
    assert line.count("▶") + line.count("◀") == 1
    assert "POST /token" in line


def message() -> Message:
    return Message(Party.PHONE, Party.TOKEN, "sign", 32, 0.0)


def test_what_has_room_is_shown_whole() -> None:
    assert "sign 32 B" in arrow(message(), NARROWEST).plain
    assert head(NARROWEST).plain.split() == [str(lane) for lane in LANES]


def test_on_a_terminal_the_loop_is_drawn_while_it_runs(tmp_path: Path) -> None:
    fidoloop = Path(sys.executable).with_name("fidoloop")
    with Terminal(tmp_path, environment()) as terminal:
        terminal.enter(f"stty cols 120; TERM=xterm {fidoloop} demo")
        terminal.expect("laptop.*server.*phone.*token", "the lanes")
        terminal.expect("agree on a key", "the phone decrypting")
        terminal.expect("9  The mobile client decrypts the token", "the ninth step")
        terminal.expect("POST /uaf/1.1/authentication", "the answer")
        terminal.expect("13 steps, 4 operations", "the end")
