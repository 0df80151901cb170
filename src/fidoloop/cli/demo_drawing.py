"""Messages as arrows between lanes, a line each, as they travel: for a terminal that is wide enough."""

from typing import Final

from rich.text import Text

from fidoloop.messages import Message, Party

LANES: Final = (Party.LAPTOP, Party.SERVER, Party.PHONE, Party.TOKEN)
NARROWEST: Final = 90
"""Columns without which an arrow has no room for its name."""
_WIDEST: Final = 160
_EDGE: Final = 4
_STYLES: Final = {Party.LAPTOP: "cyan", Party.SERVER: "magenta", Party.PHONE: "green", Party.TOKEN: "yellow"}


def head(width: int) -> Text:
    """Return the line with the names of the lanes."""
    line = [" "] * (_lane(Party.TOKEN, width) + len(Party.TOKEN))
    for party in LANES:
        begin = max(0, _lane(party, width) - len(party) // 2)
        line[begin : begin + len(party)] = party
    text = Text("".join(line), style="bold")
    for party in LANES:
        text.highlight_words([party], _STYLES[party])
    return text


def arrow(message: Message, width: int) -> Text:
    """Return one message as an arrow with its name, size and time in it; what has no room is cut."""
    begin, end = _lane(message.sender, width), _lane(message.receiver, width)
    left, right = min(begin, end), max(begin, end)
    shaft = "╌" if message.took else "─"
    room = right - left - 1
    label = _label(message, room - 4)
    filled = f" {label} ".center(room - 1, shaft) if label else shaft * (room - 1)
    body = f"{filled}▶" if end > begin else f"◀{filled}"
    text = Text()
    for party in LANES:
        place = _lane(party, width)
        if place in (left, right) or not left < place < right:
            text.append(" " * (place - len(text)))
            text.append("│", style="dim")
            if place == left:
                text.append(body, style=_STYLES[message.sender])
    return text


def _lane(party: Party, width: int) -> int:
    """Return the column of a lane."""
    between = (min(width, _WIDEST) - 2 * _EDGE) // (len(LANES) - 1)
    return _EDGE + between * LANES.index(party)


def _label(message: Message, room: int) -> str:
    """Return the name, without its first and its last part where these do not fit."""
    full = message.name.replace("/nevisfido", "")
    size = f" {message.size} B" if message.size else ""
    took = f" {message.took:.0f} ms" if message.took >= 1 else ""
    short = full.partition(": ")[0]
    for label in (full + size + took, full + size, short + size, short):
        if len(label) <= room:
            return label
    return f"{short[: max(0, room - 1)]}…"
