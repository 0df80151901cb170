"""Drawing QR codes with the options that dispatchInformation.encodingParameters may hold (HTTP contract 8)."""

import base64
import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fidoloop.protocol import qr, strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.server.dispatchers.base import DispatchError

MIN_PIXELS = 64
MAX_PIXELS = 2048

Pixels = Annotated[int, Meta(ge=MIN_PIXELS, le=MAX_PIXELS)]
Colour = Annotated[str, Meta(max_length=24)]
_RGB = re.compile(r"rgb\( *(\d{1,3}) *, *(\d{1,3}) *, *(\d{1,3}) *\)")


class _EncodingParameters(msgspec.Struct, frozen=True):
    width: Pixels | None = None
    height: Pixels | None = None
    foregroundColor: Colour = "rgb(0, 0, 0)"
    backgroundColor: Colour = "rgb(255, 255, 255)"


class Options(msgspec.Struct, frozen=True):
    """How to draw: side in pixels (None: as large as the code needs) and colours."""

    side: int | None
    foreground: tuple[int, int, int]
    background: tuple[int, int, int]


def parse_options(information: dict[str, Any]) -> Options:
    """Return the options in dispatchInformation. Raises MalformedError where one is out of range."""
    where = "$.dispatchInformation.encodingParameters"
    found = strictjson.convert(information.get("encodingParameters", {}), _EncodingParameters, where)
    sides = [side for side in (found.width, found.height) if side is not None]
    return Options(
        min(sides) if sides else None,
        _colour(found.foregroundColor, f"{where}.foregroundColor"),
        _colour(found.backgroundColor, f"{where}.backgroundColor"),
    )


def draw_png(text: str, options: Options) -> bytes:
    """Return `text` as a QR code, PNG. Raises DispatchError where it does not fit into one, or into the side given."""
    try:
        return qr.png(text, side=options.side, foreground=options.foreground, background=options.background)
    except MalformedError as error:
        raise DispatchError(error.what) from None


def draw_base64(text: str, options: Options) -> str:
    """Return `draw_png` in base64."""
    return base64.b64encode(draw_png(text, options)).decode("ascii")


def _colour(text: str, where: str) -> tuple[int, int, int]:
    match = _RGB.fullmatch(text)
    parts = tuple(int(part) for part in match.groups()) if match else ()
    if len(parts) != 3 or max(parts) > 255:
        raise MalformedError(where, "not of the form rgb(r, g, b)")
    return (parts[0], parts[1], parts[2])
