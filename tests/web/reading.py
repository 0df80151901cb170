"""What a phone's camera reads off the screen."""

from pathlib import Path

from fidoloop.bridge.scan import scan_image
from tests.web.browser import Tab


def read_code(tab: Tab, directory: Path) -> str:
    """Wait until a code is shown, and return its text."""
    tab.state("waiting")
    return scan_image(tab.screenshot(directory / "screen.png"))
