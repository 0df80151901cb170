"""A picture of this machine's screen: by X11 itself, or on Wayland by the desktop's own screenshot program."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image, ImageGrab

from fidoloop.bridge import qr_images
from fidoloop.bridge.errors import DeviceMissingError

WHERE: Final = "the screen"
PROGRAM_SECONDS: Final = 30
# No Wayland client may look at others' windows: each desktop has a program that may.
_PROGRAMS: Final = (("grim",), ("gnome-screenshot", "-f"), ("spectacle", "-n", "-b", "-f", "-o"))


def read_screen() -> list[str]:
    """Return the texts of the QR codes on the screen.

    Raises:
        DeviceMissingError: there is no screen, or no way to look at it.
    """
    # First: an X server that only serves old programs on a Wayland desktop would show an empty screen.
    if os.environ.get("WAYLAND_DISPLAY"):
        with tempfile.TemporaryDirectory(prefix="fidoloop-") as directory:
            return qr_images.read_file(_taken_by_program(Path(directory) / "screen.png"))
    display = os.environ.get("DISPLAY")
    if not display:
        raise DeviceMissingError("there is no screen here: neither DISPLAY nor WAYLAND_DISPLAY is set")
    with _taken_by_x11(display) as image:
        return qr_images.read_image(image, WHERE)


def _taken_by_x11(display: str) -> Image.Image:
    try:
        return ImageGrab.grab(xdisplay=display)
    except OSError as error:
        raise DeviceMissingError(f"the screen {display} cannot be read: {error}") from None


def _taken_by_program(path: Path) -> Path:
    program = next((found for found in _PROGRAMS if shutil.which(found[0])), None)
    if program is None:
        names = ", ".join(found[0] for found in _PROGRAMS)
        raise DeviceMissingError(f"on Wayland the screen is read by one of {names}, none of which is installed")
    try:
        ended = subprocess.run([*program, str(path)], capture_output=True, check=False, timeout=PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        raise DeviceMissingError(f"{program[0]} took no picture of the screen in {PROGRAM_SECONDS} s") from None
    if ended.returncode != 0 or not path.is_file():
        raise DeviceMissingError(f"{program[0]} took no picture of the screen (exit code {ended.returncode})")
    return path
