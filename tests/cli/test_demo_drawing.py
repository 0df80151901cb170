"""The loop drawn in a terminal while it runs."""

import re
import sys
from itertools import permutations
from pathlib import Path

import pytest

from fidoloop.cli.demo_drawing import LANES, NARROWEST, arrow, head
from fidoloop.traffic import Party, SentMessage
from manual.diagrams import committed
from tests.cli.command import environment
from tests.manual.terminal import Terminal

NAME = "POST /nevisfido/token/dispatch/authentication: getUafRequest, dispatchTargetId, …"


@pytest.mark.parametrize("width", [NARROWEST, 100, 120, 300])
@pytest.mark.parametrize(("sender", "receiver"), list(permutations(LANES, 2)))
def test_an_arrow_goes_from_lane_to_lane_and_fits(sender: Party, receiver: Party, width: int) -> None:
    *above, line = arrow(SentMessage(sender, receiver, NAME, 1234, 0.0, 5.0), width).plain.split("\n")
    assert all(len(one) <= width for one in (*above, line))
    lanes = [found.start() for found in re.finditer("│", arrow(message(), width).plain)]
    begin, end = (lanes[LANES.index(party)] for party in (sender, receiver))
    assert line[begin] == line[end] == "│"
    assert line[end - 1 if end > begin else end + 1] == ("▶" if end > begin else "◀")
    assert line.count("▶") + line.count("◀") == 1
    assert "POST /token" in (*above, line)[0]


def travelled() -> list[SentMessage]:
    """Every message of the recorded runs that has a lane to begin and one to end in."""
    parts = [part for recording in committed().values() for part in recording.parts]
    return [one for part in parts for one in part.messages if {one.sender, one.receiver} <= set(LANES)]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_what_really_travels_is_named_whole(width: int) -> None:
    for one in travelled():
        drawn = arrow(one, width).plain
        assert all(len(line) <= width for line in drawn.split("\n")), drawn
        said = re.sub("[│─╌▶◀ \n]", "", drawn)
        named = one.name.replace("/nevisfido", "").partition(": ")[0]
        assert named.replace(" ", "") in said, drawn


def test_a_name_that_is_too_long_is_broken_where_it_may_be() -> None:
    name = "DELETE /nevisfido/token/dispatch/targets/{id}"
    *above, line = arrow(SentMessage(Party.PHONE, Party.SERVER, name, 12, 0.0), 80).plain.split("\n")
    assert [one.strip(" │") for one in above] == ["DELETE /token/"]
    assert "dispatch/targets/{id}" in line


def test_a_word_without_end_is_shortened_inside() -> None:
    drawn = arrow(SentMessage(Party.PHONE, Party.SERVER, "GET /" + "a" * 30 + "b" * 30, 0, 0.0), 80).plain
    assert re.search("a{9,}…b{9,}", drawn)


@pytest.mark.parametrize("width", [100, 200])
def test_contents_are_named_where_there_is_room(width: int) -> None:
    asked = SentMessage(
        Party.PHONE, Party.SERVER, "POST /nevisfido/uaf/1.1/authentication: UAF response, Auth", 2052, 0.0
    )
    assert ("authentication: UAF response, Auth 2052 B" in arrow(asked, width).plain) == (width == 200)


def message() -> SentMessage:
    return SentMessage(Party.PHONE, Party.TOKEN, "sign", 32, 0.0)


def test_what_has_room_is_shown_whole() -> None:
    assert "sign 32 B" in arrow(message(), NARROWEST).plain
    assert head(NARROWEST).plain.split() == [str(lane) for lane in LANES]


def test_on_a_terminal_the_loop_is_drawn_while_it_runs(tmp_path: Path) -> None:
    fidoloop = Path(sys.executable).with_name("fidoloop")
    with Terminal(tmp_path, environment()) as terminal:
        terminal.enter(f"stty cols {NARROWEST}; TERM=xterm {fidoloop} demo")
        terminal.expect("laptop.*server.*phone.*token", "the lanes")
        begin = terminal.screen.rindex("laptop", 0, terminal.screen.index("token"))
        terminal.expect("agree on a key", "the phone decrypting")
        terminal.expect("9  The mobile client decrypts the token", "the ninth step")
        terminal.expect("POST /uaf/1.1/", "the answer")
        terminal.expect("13 steps, 4 operations", "the end")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.screen[begin:]).splitlines()
    assert max(len(line) for line in lines) <= NARROWEST
