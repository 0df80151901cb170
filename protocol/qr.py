"""QR codes: the modules of a text, drawn as PNG or as half-block characters (ISO/IEC 18004; HTTP contract 8)."""

import io

import zxingcpp
from PIL import Image, ImageOps

from fidoloop.protocol.errors import MalformedError

QUIET_ZONE_MODULES = 4
DEFAULT_MODULE_PIXELS = 6
# Below this a code stays small enough to afford the better error correction.
MAX_TEXT_FOR_CORRECTION_M = 600
# Modules of single pixels are read by chance (zbar: half of them); stretched to this much or more they are read.
MIN_STRETCHED_PIXELS = 1.5
STRETCHED_QUIET_ZONE_PIXELS = 8

Colour = tuple[int, int, int]
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


def modules(text: str) -> Image.Image:
    """Return `text` as a QR code of one pixel per module, quiet zone included, 0 for dark and 255 for light.

    Raises:
        MalformedError: the text does not fit into a QR code.
    """
    correction = "M" if len(text) <= MAX_TEXT_FOR_CORRECTION_M else "L"
    try:
        code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level=correction)
        drawn = Image.fromarray(code.to_image(scale=1, add_quiet_zones=False))
    except ValueError:
        raise MalformedError("$", f"{len(text)} characters do not fit into a QR code") from None
    return ImageOps.expand(drawn, QUIET_ZONE_MODULES, 255)


def png(text: str, *, side: int | None = None, foreground: Colour = BLACK, background: Colour = WHITE) -> bytes:
    """Return `text` as a PNG of at most `side` pixels (None: as large as is comfortable), quiet zone included.

    Raises:
        MalformedError: the text does not fit into a QR code, or the code not into `side`.
    """
    code = modules(text)
    # Whole pixels per module: a code that is scaled to fit scans badly.
    pixels = DEFAULT_MODULE_PIXELS if side is None else side // code.width
    if pixels < 1:
        raise MalformedError("$", f"the QR code does not fit into {side} pixels")
    if side is not None and pixels == 1 and side >= MIN_STRETCHED_PIXELS * code.width:
        image = _stretched(code, side)
    else:
        image = code.resize((code.width * pixels, code.height * pixels), Image.Resampling.NEAREST)
    image = image.convert("1").convert("P")
    image.putpalette([*foreground, *background])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", bits=1)
    return buffer.getvalue()


def _stretched(code: Image.Image, side: int) -> Image.Image:
    bare = ImageOps.crop(code, QUIET_ZONE_MODULES)
    inner = side - 2 * STRETCHED_QUIET_ZONE_PIXELS
    return ImageOps.expand(bare.resize((inner, inner), Image.Resampling.NEAREST), STRETCHED_QUIET_ZONE_PIXELS, 255)


def half_blocks(text: str) -> list[str]:
    """Return `text` as lines of half-block characters, light modules drawn, two rows of modules to a line.

    Raises:
        MalformedError: as `modules`.
    """
    code = modules(text)
    pixels = code.tobytes()
    rows = [pixels[start : start + code.width] for start in range(0, len(pixels), code.width)]
    if len(rows) % 2:
        rows.append(bytes(code.width))
    characters = {(255, 255): "█", (255, 0): "▀", (0, 255): "▄", (0, 0): " "}
    return [
        "".join(characters[upper, lower] for upper, lower in zip(above, below, strict=True))
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    ]
