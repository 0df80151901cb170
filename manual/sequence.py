"""A recording as a sequence diagram: SVG by itself, without script, font or anything from elsewhere."""

from html import escape
from typing import Final

from fidoloop.traffic import Party, SentMessage
from manual.recordings import Recording

_MARGIN: Final = 120
_LANE: Final = 285
_ROW: Final = 34
_HEAD: Final = 76
_CAPTION: Final = 30
_INK, _FAINT, _PAPER = "#1b1f24", "#6a737d", "#ffffff"
_COLOURS: Final = {
    Party.LAPTOP: "#0b6e99",
    Party.SERVER: "#5a3e9b",
    Party.PHONE: "#1a7f37",
    Party.TOKEN: "#b35900",
    Party.RESOURCE: "#8a2d5b",
}
_STYLE: Final = (
    f"text{{font:11px system-ui,sans-serif;fill:{_INK}}}"
    f".faint{{fill:{_FAINT};font-size:10px}}.head{{font-weight:600;fill:{_PAPER};font-size:13px}}"
    ".title{font-size:15px;font-weight:600}.caption{font-weight:600}"
)


def draw(recording: Recording) -> str:
    """Return the diagram. Sizes are of bodies in bytes; times at the left are since the beginning of the recording."""
    sent = [message for part in recording.parts for message in part.messages]
    lanes = [party for party in Party if any(party in (message.sender, message.receiver) for message in sent)]
    places = {party: _MARGIN + _LANE * number for number, party in enumerate(lanes)}
    width = _MARGIN * 2 + _LANE * (len(lanes) - 1)
    body, y = list[str](), _HEAD
    for part in recording.parts:
        if part.caption:
            y += _CAPTION
            body.append(f'<rect x="8" y="{y - 19}" width="{width - 16}" height="22" rx="4" fill="#eef1f4"/>')
            body.append(_text(16, y - 4, part.caption, "caption", anchor="start"))
        for message in part.messages:
            y += _ROW
            body += _arrow(message, places, y)
    height = y + 24
    heads = [part for party, x in places.items() for part in _lane(party, x, height)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' height="{height}" role="img">',
            f"<title>{escape(recording.title)}</title><style>{_STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
            _text(width // 2, 22, recording.title, "title"),
            *heads,
            *body,
            "</svg>\n",
        ]
    )


def _lane(party: Party, x: int, height: int) -> list[str]:
    return [
        f'<line x1="{x}" y1="62" x2="{x}" y2="{height - 8}" stroke="{_COLOURS[party]}" stroke-opacity=".45"/>',
        f'<rect x="{x - 52}" y="36" width="104" height="26" rx="5" fill="{_COLOURS[party]}"/>',
        _text(x, 54, str(party), "head"),
    ]


def _arrow(message: SentMessage, places: dict[Party, int], y: int) -> list[str]:
    begin, end = places[message.sender], places[message.receiver]
    tip = 7 if end > begin else -7
    colour = _COLOURS[message.sender]
    dashes = ' stroke-dasharray="5 3"' if message.took else ""
    middle = (begin + end) // 2
    what, _, content = message.name.partition(": ")
    details = [content, f"{message.size:,} B" if message.size else "", f"{message.took:g} ms" if message.took else ""]
    return [
        f'<line x1="{begin}" y1="{y}" x2="{end - tip}" y2="{y}" stroke="{colour}" stroke-width="1.4"{dashes}/>',
        f'<path d="M{end} {y}l{-tip} -4v8z" fill="{colour}"/>',
        _text(middle, y - 4, what, ""),
        _text(middle, y + 11, " · ".join(filter(None, details)), "faint"),
        _text(10, y + 3, f"{message.at:g} ms", "faint", anchor="start"),
    ]


def _text(x: int, y: int, text: str, kind: str, *, anchor: str = "middle") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{of_kind}>{escape(text)}</text>'
