"""The manual as a site."""

import re
import subprocess
import sys
from pathlib import Path

from .blocks import DOCS


def test_the_site_is_built_without_a_warning_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    """As `make site` does it."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "tutorial" / "first-log-in.html").is_file()
    assert "--state" in (tmp_path / "reference" / "errors.html").read_text("utf-8"), "two hyphens stay two hyphens"
    loaded = re.compile(
        r"""<(?:script|img|iframe)\b[^>]*\ssrc=["'](?:https?:)?//|<link\b[^>]*\shref=["'](?:https?:)?//"""
    )
    fetched = re.compile(r"""(?:@import|url\()\s*["']?(?:https?:)?//""")
    for page in tmp_path.rglob("*.html"):
        assert not loaded.search(page.read_text("utf-8")), page
    for sheet in tmp_path.rglob("*.css"):
        assert not fetched.search(sheet.read_text("utf-8")), sheet
