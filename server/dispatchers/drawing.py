"""Drawing QR codes with the options that dispatchInformation.encodingParameters may hold (HTTP contract 8)."""

import base64
import io
import re
from typing import Annotated, Any

import msgspec
import qrcode
from msgspec import Meta
from qrcode.constants import ERROR_CORRECT_L, ERROR_CORRECT_M
from qrcode.exceptions import DataOverflowError

from fidoloop.protocol import strictjson
from fidoloop.protocol.errors import MalformedError
from fidoloop.server.dispatchers.base import DispatchError

QUIET_ZONE_MODULES = 4
DEFAULT_MODULE_PIXELS = 6
MIN_PIXELS = 64
MAX_PIXELS = 2048
# Below this a code stays small enough to afford the better error correction.
MAX_TEXT_FOR_CORRECTION_M = 600

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
    correction = ERROR_CORRECT_M if len(text) <= MAX_TEXT_FOR_CORRECTION_M else ERROR_CORRECT_L
    code = qrcode.QRCode(error_correction=correction, border=QUIET_ZONE_MODULES, box_size=DEFAULT_MODULE_PIXELS)
    code.add_data(text)
    try:
        code.make(fit=True)
    except (DataOverflowError, ValueError):
        raise DispatchError("the payload does not fit into a QR code") from None
    if options.side is not None:
        # Whole pixels per module: a code that is scaled to fit scans badly.
        code.box_size = options.side // (code.modules_count + 2 * QUIET_ZONE_MODULES)
        if code.box_size < 1:
            raise DispatchError(f"the QR code does not fit into {options.side} pixels")
    image = code.make_image(fill_color=options.foreground, back_color=options.background)
    buffer = io.BytesIO()
    image.save(buffer)
    return buffer.getvalue()


def draw_base64(text: str, options: Options) -> str:
    """Return `draw_png` in base64."""
    return base64.b64encode(draw_png(text, options)).decode("ascii")


def draw_text(text: str) -> list[str]:
    """Return `text` as a QR code in half-block characters, light on dark, one string per line."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_L, border=QUIET_ZONE_MODULES)
    code.add_data(text)
    buffer = io.StringIO()
    code.print_ascii(out=buffer, invert=True)
    return buffer.getvalue().splitlines()


def _colour(text: str, where: str) -> tuple[int, int, int]:
    match = _RGB.fullmatch(text)
    parts = tuple(int(part) for part in match.groups()) if match else ()
    if len(parts) != 3 or max(parts) > 255:
        raise MalformedError(where, "not of the form rgb(r, g, b)")
    return (parts[0], parts[1], parts[2])
