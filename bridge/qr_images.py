"""The QR codes in an image, as a phone meets them: turned, inverted, small, blurred, on nothing (ISO/IEC 18004)."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zxingcpp
from PIL import Image

from fidoloop.bridge.errors import MalformedPayloadError

MAX_IMAGE_BYTES = 32 << 20
MAX_PIXELS = 64_000_000
# A second look, for small codes whose modules are no whole pixels, costs the square of the scale.
MAX_ENLARGED_PIXELS = 16_000_000
_SCALES = (2, 3)
_QR = zxingcpp.barcode_formats_from_str("QRCode")
# What Pillow's decoders raise, beside OSError, for an image that is broken or blows up.
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def read_file(path: Path) -> list[str]:
    """Return the texts of the QR codes in the image at `path`.

    Raises:
        MalformedPayloadError: it is not there, no image, broken or too large.
    """
    with _told(str(path)):
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise MalformedPayloadError(f"{path} is larger than {MAX_IMAGE_BYTES} bytes")
        with path.open("rb") as file:
            return read_bytes(file.read(MAX_IMAGE_BYTES + 1), str(path))


def read_bytes(content: bytes, where: str) -> list[str]:
    """Return the texts of the QR codes in an image file's bytes; `where` names it. Raises as `read_file`."""
    if len(content) > MAX_IMAGE_BYTES:
        raise MalformedPayloadError(f"{where} is larger than {MAX_IMAGE_BYTES} bytes")
    with _told(where), _opened(content) as image:
        return read_image(image, where)


def read_image(image: Image.Image, where: str) -> list[str]:
    """Return the texts of the QR codes in an open image. Raises as `read_file`."""
    # Decided by the header, before a pixel is decoded.
    if image.width * image.height > MAX_PIXELS:
        raise MalformedPayloadError(f"{where} has more than {MAX_PIXELS} pixels")
    with _told(where):
        grey = _on_white(image)
        for look in _looks(grey):
            found = [code.text for code in zxingcpp.read_barcodes(look, formats=_QR)]
            if found:
                return found
    return []


def is_image(content: bytes) -> bool:
    """Tell whether `content` begins like an image file."""
    try:
        with _opened(content):
            return True
    except _BROKEN:
        return False


def _looks(grey: Image.Image) -> Iterator[Image.Image]:
    yield grey
    for scale in _SCALES:
        if grey.width * grey.height * scale**2 <= MAX_ENLARGED_PIXELS:
            yield grey.resize((grey.width * scale, grey.height * scale), Image.Resampling.BICUBIC)


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise MalformedPayloadError(f"{where} is not a readable image ({type(error).__name__})") from None


def _opened(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns above a size of its own; ours is refused.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content))


def _on_white(image: Image.Image) -> Image.Image:
    """Return `image` in grey, what is transparent in it as white: drawn on nothing, a code would be black on black."""
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    return image.convert("L")
