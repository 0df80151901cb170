"""docs/pytest.md names what there is; that its examples run is tested by tests/examples/."""

import re

from manual import pytest_plugin
from tests.manual.blocks import DOCS

PAGE = DOCS / "pytest.md"


def test_options_and_fixtures_that_are_named_are_there() -> None:
    text = PAGE.read_text("utf-8")
    reference = pytest_plugin.render()
    options = set(re.findall(r"--fidoloop-[a-z-]+", text))
    fixtures = set(re.findall(r"\bfidoloop_[a-z_]+", text))
    assert options == set(re.findall(r"--fidoloop-[a-z-]+", reference)) - {"--fidoloop-tls"}
    assert fixtures <= set(pytest_plugin.fixtures())
