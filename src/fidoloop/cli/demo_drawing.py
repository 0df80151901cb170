"""Messages as arrows between lanes, as they travel: for a terminal that is wide enough."""

import re
from typing import Final

from rich.text import Text

from fidoloop.traffic import Party, SentMessage

LANES: Final = (Party.LAPTOP, Party.SERVER, Party.PHONE, Party.TOKEN)
NARROWEST: Final = 80
"""Columns without which an arrow has no room for its name."""
_WIDEST: Final = 200
_FIRST, _BEHIND_LAST = 3, 3
# What the token is asked is shorter than a path.
_SHARES: Final = (0.0, 0.365, 0.73, 1.0)
_STYLES: Final = {Party.LAPTOP: "cyan", Party.SERVER: "magenta", Party.PHONE: "green", Party.TOKEN: "yellow"}
_PIECE = re.compile(r"\d+ (?:B|ms)\b|/?[^ /]+/?|[ /]")


def head(width: int) -> Text:
    """Return the line with the names of the lanes."""
    line = [" "] * (_lane(Party.TOKEN, width) + len(Party.TOKEN))
    for party in LANES:
        begin = max(0, _lane(party, width) - len(party) // 2)
        line[begin : begin + len(party)] = party
    text = Text("".join(line).rstrip(), style="bold")
    for party in LANES:
        text.highlight_words([party], _STYLES[party])
    return text


def arrow(message: SentMessage, width: int) -> Text:
    """Return one message as an arrow with its name, size and time in it, as far as these have room.

    Method and path, or status, are always there: where they are too long for a line, above the arrow, too.
    """
    begin, end = _lane(message.sender, width), _lane(message.receiver, width)
    room = abs(end - begin) - 1
    *above, label = _label(message, room - 5)
    shaft = "╌" if message.took else "─"
    filled = f" {label} ".center(room - 1, shaft)
    body = f"{filled}▶" if end > begin else f"◀{filled}"
    rows = [line.center(room) for line in above] + [body]
    return Text("\n").join(_row(message, row, width) for row in rows)


def _row(message: SentMessage, between: str, width: int) -> Text:
    """Return a line with the lanes, and `between` from the one lane of the message to the other."""
    left, right = sorted((_lane(message.sender, width), _lane(message.receiver, width)))
    text = Text()
    for party in LANES:
        place = _lane(party, width)
        if place in (left, right) or not left < place < right:
            text.append(" " * (place - len(text)))
            text.append("│", style="dim")
            if place == left:
                text.append(between, style=_STYLES[message.sender])
    return text


def _lane(party: Party, width: int) -> int:
    """Return the column of a lane."""
    between_first_and_last = min(width, _WIDEST) - _FIRST - _BEHIND_LAST
    return _FIRST + round(between_first_and_last * _SHARES[LANES.index(party)])


def _label(message: SentMessage, room: int) -> list[str]:
    """Return the name in lines: one, without its last parts where these do not fit, or as many as the path needs."""
    full = message.name.replace("/nevisfido", "")
    size = f" {message.size} B" if message.size else ""
    took = f" {message.took:.0f} ms" if message.took >= 1 else ""
    short = full.partition(": ")[0]
    for label in (full + size + took, full + size, short + size + took, short + size, short):
        if len(label) <= room:
            return [label]
    sized, bare = _broken(short + size, room), _broken(short, room)
    return sized if len(sized) == len(bare) else bare


def _broken(label: str, room: int) -> list[str]:
    """Return a label in lines, broken between words and behind slashes; a word that is longer is shortened inside."""
    lines = [""]
    for piece in _PIECE.findall(label):
        if len(lines[-1]) + len(piece) > room:
            lines.append("")
        lines[-1] += _shortened(piece if lines[-1] else piece.lstrip(" "), room)
    return [line.rstrip(" ") for line in lines if line.strip(" ")]


def _shortened(word: str, room: int) -> str:
    if len(word) <= room:
        return word
    ahead = room // 2
    return f"{word[:ahead]}…{word[len(word) - (room - ahead - 1) :]}"
