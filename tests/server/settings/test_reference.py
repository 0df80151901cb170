"""The document says what the code says."""

from pathlib import Path

from fidoloop.server.settings.described import all_settings
from fidoloop.server.settings.reference import render

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text("utf-8") == render(), "run `make docs`"


def test_every_setting_stands_in_the_document_with_its_default_and_unit() -> None:
    lines = {line.split("`")[1]: line for line in render().splitlines() if line.startswith("| `")}
    for name, setting in all_settings().items():
        assert setting.unit in lines[name]
        assert setting.description in lines[name]
    assert "| seconds | `300` |" in lines["lifetimes.registration_token"]
