"""Reading a QR code from an image file or a screenshot, or taking the text itself (HTTP contract 9)."""

from pathlib import Path

import zxingcpp
from PIL import Image, UnidentifiedImageError

from fidoloop.bridge.errors import MalformedPayloadError

MAX_IMAGE_BYTES = 32 << 20
MAX_PIXELS = 100_000_000
_QR = zxingcpp.barcode_formats_from_str("QRCode")


def scan(source: str) -> str:
    """Return the text of `source`: an image file's single QR code, or `source` itself where it is no file.

    Raises:
        MalformedPayloadError: the image is unreadable or too large, or holds no QR code or several.
    """
    path = Path(source)
    # A payload's text is far longer than a path may be; asking the file system about it would fail.
    if len(source) > 4096 or "://" in source or not path.is_file():
        return source
    return scan_image(path)


def scan_image(path: Path) -> str:
    """Return the text of the one QR code in the image at `path`. Raises as `scan`."""
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise MalformedPayloadError(f"{path} is larger than {MAX_IMAGE_BYTES} bytes")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MalformedPayloadError(f"{path} has more than {MAX_PIXELS} pixels")
            codes = zxingcpp.read_barcodes(image.convert("L"), formats=_QR)
    except (UnidentifiedImageError, OSError) as error:
        raise MalformedPayloadError(f"{path} is not a readable image ({type(error).__name__})") from None
    texts = {code.text for code in codes}
    if len(texts) != 1:
        raise MalformedPayloadError(f"{path} holds {'no' if not texts else 'more than one'} QR code")
    return texts.pop()
