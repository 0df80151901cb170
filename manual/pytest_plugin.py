"""docs/reference/pytest.md, from the plugin's options and fixtures."""

import inspect
from typing import Any

from fidoloop import pytest_plugin

_HEAD = """# pytest: options and fixtures

<!-- Written by `make docs` from the plugin. -->

[Testing with pytest](../pytest.md) says how they are used.

## Options

| Option | Default | What it says |
|---|---|---|
"""
_FIXTURES = """
## Fixtures

A project that defines a fixture of one of these names has its own in the place of the plugin's.

"""


class _Options:
    """Takes the plugin's options in a parser's place."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def getgroup(self, name: str, description: str = "") -> "_Options":
        return self

    def addoption(self, name: str, **settings: Any) -> None:  # noqa: ANN401 - as argparse has them
        what = settings.get("metavar") or "|".join(settings.get("choices", ()))
        default = settings.get("default")
        shown = f"`{default}`" if default else ""
        self.rows.append(
            f"| `{f'{name} {what}'.strip()}` | {shown} | {settings['help']} |".replace("KIND|URI", "WHICH")
        )


def render() -> str:
    """Return the page."""
    options: Any = _Options()
    pytest_plugin.pytest_addoption(options)
    parts = [_HEAD + "\n".join(row.replace("lab|none", "lab\\|none") for row in options.rows), _FIXTURES.rstrip("\n")]
    for name, fixture in fixtures().items():
        text = inspect.getdoc(fixture) or ""
        parts.append(f"\n### `{name}`\n\n{_gives(fixture)}, for each {scope_of(fixture)}. {text}")
    return "\n".join(parts) + "\n"


def fixtures() -> dict[str, Any]:
    """Return the plugin's fixtures by name, in the order of the alphabet."""
    found = {name: value for name, value in vars(pytest_plugin).items() if hasattr(value, "_fixture_function_marker")}
    return dict(sorted(found.items()))


def scope_of(fixture: Any) -> str:  # noqa: ANN401 - pytest's own
    """Return how long a fixture lives: a test or the session."""
    scope = fixture._fixture_function_marker.scope
    return "test" if scope == "function" else str(scope)


def _gives(fixture: Any) -> str:  # noqa: ANN401 - pytest's own
    annotation = inspect.signature(fixture._get_wrapped_function()).return_annotation
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = text.removeprefix("collections.abc.")
    return f"`{text.removeprefix('Iterator[').removesuffix(']') if text.startswith('Iterator[') else text}`"
