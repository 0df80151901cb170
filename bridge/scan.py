"""Where a dispatched token is read from: an image, standard input, the screen, a camera, or the text itself."""

import sys
from pathlib import Path
from typing import BinaryIO

from fidoloop.bridge import qr_images, screen
from fidoloop.bridge.camera import DEFAULT_CAMERA, scan_camera
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.bridge.qr_content import Chooser, our_token
from fidoloop.protocol import outofband

STANDARD_INPUT = "-"
SCREEN = "screen:"
CAMERA = "camera:"


def scan(source: str, *, choose: Chooser | None = None) -> str:
    """Return the dispatched token's text in `source`.

    `source` is an image file with its QR code, `-` (an image or a text on standard input), `screen:`, `camera:` or
    `camera:DEVICE`, or the token's link or text itself, which is returned as it is. `choose` is asked where an image
    holds several dispatched tokens.

    Raises:
        MalformedPayloadError: there is no such image, it is unreadable or too large, or holds no dispatched token, or
            several and none was chosen.
        DeviceMissingError: no screen or camera. NotInstalledError: what reads the camera is not installed.
    """
    if source == STANDARD_INPUT:
        return scan_stream(sys.stdin.buffer, choose=choose)
    if source == SCREEN:
        return our_token(screen.read_screen(), screen.WHERE, choose)
    if source.startswith(CAMERA):
        return scan_camera(source.removeprefix(CAMERA) or DEFAULT_CAMERA, choose=choose)
    if "://" in source or source.lstrip().startswith("{"):
        return source
    path = Path(source)
    if _is_file(path):
        return scan_image(path, choose=choose)
    # What is left is base64url, or the name of a file that is not there.
    if "." in source or "/" in source:
        raise MalformedPayloadError(f"there is no image file {source[:200]}")
    return source


def scan_image(path: Path, *, choose: Chooser | None = None) -> str:
    """Return the dispatched token in the image at `path`. Raises MalformedPayloadError, as `scan`."""
    return our_token(qr_images.read_file(path), str(path), choose)


def scan_stream(stream: BinaryIO, *, choose: Chooser | None = None) -> str:
    """Return the dispatched token in what `stream` holds: an image, or the text. Raises MalformedPayloadError."""
    where = "the standard input"
    content = stream.read(qr_images.MAX_IMAGE_BYTES + 1)
    if qr_images.is_image(content):
        return our_token(qr_images.read_bytes(content, where), where, choose)
    if len(content) > outofband.MAX_PAYLOAD_CHARACTERS:
        raise MalformedPayloadError(f"{where} holds neither an image nor a dispatched token")
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise MalformedPayloadError(f"{where} holds neither an image nor text") from None
    if not text:
        raise MalformedPayloadError(f"{where} is empty")
    return text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a payload's text is longer than a file's name may be
        return False
