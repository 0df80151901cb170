"""Looking through a camera until a dispatched token is seen; needs PyAV (the extra `camera`)."""

import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fidoloop.bridge import qr_images
from fidoloop.bridge.errors import DeviceMissingError, MalformedPayloadError, NotInstalledError
from fidoloop.bridge.qr_content import Chooser, our_token

if TYPE_CHECKING:
    from av.container import InputContainer

DEFAULT_CAMERA: Final = "/dev/video0"
DEFAULT_SECONDS: Final = 60.0


def scan_camera(
    device: str = DEFAULT_CAMERA,
    *,
    seconds: float = DEFAULT_SECONDS,
    choose: Chooser | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Return the dispatched token that the camera sees first; `device` is a V4L2 device or a file of recorded frames.

    A QR code that is none is passed over as long as `seconds` last.

    Raises:
        MalformedPayloadError: the time or the recording ended; what was seen instead is named.
        DeviceMissingError: no such camera, or it gives no frames. NotInstalledError: PyAV is not there.
    """
    where = f"the camera {device}"
    deadline = clock() + seconds
    refusal = MalformedPayloadError(f"{where} saw no QR code")
    with _opened(device) as camera:
        for texts in _seen(camera, where):
            if texts:
                try:
                    return our_token(texts, where, choose)
                except MalformedPayloadError as error:
                    refusal = error
            if clock() >= deadline:
                break
    raise refusal


def _seen(camera: "InputContainer", where: str) -> Iterator[list[str]]:
    from av.error import FFmpegError

    try:
        for frame in camera.decode(video=0):
            yield qr_images.read_image(frame.to_image(), where)
    except FFmpegError as error:
        raise DeviceMissingError(f"{where} gives no frames: {error.strerror or error}") from None


@contextmanager
def _opened(device: str) -> "Iterator[InputContainer]":
    try:
        import av
    except ImportError:
        raise NotInstalledError("reading from a camera needs PyAV: pip install 'fidoloop[camera]'") from None
    path = Path(device).absolute()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DeviceMissingError(f"there is no camera {device}: {error.strerror}") from None
    live = stat.S_ISCHR(mode)
    if not live and not stat.S_ISREG(mode):
        raise DeviceMissingError(f"{device} is neither a camera nor a file of frames")
    try:
        # A recording must not make the reader fetch anything.
        opened = av.open(str(path), format="v4l2" if live else None, options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DeviceMissingError(f"the camera {device} cannot be opened: {error}") from None
    with opened:
        if not opened.streams.video:
            raise DeviceMissingError(f"{device} holds no pictures")
        yield opened
