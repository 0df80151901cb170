"""`make docs` writes the pages that come from the code; with --check it only says which of them are not current."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fidoloop.server.settings import reference as configuration
from manual import command_line, errors, http_services, library, pytest_plugin

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration.render,
    "reference/command-line.md": command_line.render,
    "reference/http.md": http_services.render,
    "reference/errors.md": errors.render,
    "reference/library.md": library.render,
    "reference/pytest.md": pytest_plugin.render,
}


def stale(docs: Path = DOCS) -> list[str]:
    """Return the names of the pages that do not say what the code says."""
    return [
        name
        for name, render in PAGES.items()
        if not (docs / name).is_file() or (docs / name).read_text("utf-8") != render()
    ]


def main(arguments: list[str]) -> int:
    """Write every page, or with --check none; return 1 where --check found a stale one."""
    names = stale()
    if "--check" in arguments:
        sys.stderr.writelines(f"docs/{name} is not current: run `make docs`\n" for name in names)
        return 1 if names else 0
    for name in names:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
