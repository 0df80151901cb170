"""Reading a QR code from an image file or a screenshot, or taking the text itself (HTTP contract 9)."""

import warnings
from pathlib import Path

import zxingcpp
from PIL import Image

from fidoloop.bridge.errors import MalformedPayloadError

MAX_IMAGE_BYTES = 32 << 20
MAX_PIXELS = 64_000_000
_QR = zxingcpp.barcode_formats_from_str("QRCode")
# What Pillow's decoders raise, beside OSError, for an image that is broken or blows up.
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def scan(source: str) -> str:
    """Return the text of `source`: an image file's single QR code, or `source` itself where it is no file.

    Raises:
        MalformedPayloadError: the image is not there, unreadable or too large, or holds no QR code or several.
    """
    if "://" in source or source.lstrip().startswith("{"):
        return source
    path = Path(source)
    if _is_file(path):
        return scan_image(path)
    # What is left is base64url, or the name of a file that is not there.
    if "." in source or "/" in source:
        raise MalformedPayloadError(f"there is no image file {source[:200]}")
    return source


def scan_image(path: Path) -> str:
    """Return the text of the one QR code in the image at `path`. Raises as `scan`."""
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise MalformedPayloadError(f"{path} is larger than {MAX_IMAGE_BYTES} bytes")
        with _opened(path) as image:
            # Decided by the header, before a pixel is decoded.
            if image.width * image.height > MAX_PIXELS:
                raise MalformedPayloadError(f"{path} has more than {MAX_PIXELS} pixels")
            codes = zxingcpp.read_barcodes(_on_white(image), formats=_QR)
    except _BROKEN as error:
        raise MalformedPayloadError(f"{path} is not a readable image ({type(error).__name__})") from None
    texts = {code.text for code in codes}
    if len(texts) != 1:
        raise MalformedPayloadError(f"{path} holds {'no' if not texts else 'more than one'} QR code")
    return texts.pop()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a payload's text is longer than a file's name may be
        return False


def _opened(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns above a size of its own; ours is refused.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _on_white(image: Image.Image) -> Image.Image:
    """Return `image` in grey, what is transparent in it as white: drawn on nothing, a code would be black on black."""
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    return image.convert("L")
