"""The manual builds without a warning, and what it shows is what it says it is."""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from manual.__main__ import PAGES, stale

from .blocks import DOCS, ROOT, Block, blocks, pages

ALL = [block for page in pages() for block in blocks(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


def test_pages_from_the_code_say_what_the_code_says() -> None:
    assert stale() == [], "run `make docs`"


def test_pages_that_were_changed_by_hand_are_noticed(tmp_path: Path) -> None:
    unchanged, *changed = PAGES
    for name in PAGES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = (DOCS / name).read_text("utf-8")
        (tmp_path / name).write_text(text if name == unchanged else f"{text}and more\n", encoding="utf-8")
    assert stale(tmp_path) == changed


def test_no_page_is_left_out_of_the_navigation() -> None:
    listed = {"index"}
    for page in DOCS.rglob("*.md"):
        for block in blocks(page):
            if block.language == "{toctree}":
                where = page.parent.relative_to(DOCS)
                names = [line for line in block.text.splitlines() if line and not line.startswith(":")]
                listed |= {str(where / name) for name in names}
    there = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")}
    assert there <= listed, "put them into a toctree, docs/index.md has most of them"


def test_links_lead_somewhere() -> None:
    """Of the README, which the site does not contain; the site's own are warnings of its build."""
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


SHELL = [
    block
    for block in of("sh", "")
    if re.search(r"^(fidoloop|make|pytest) ", block.text, re.M) and "…" not in block.text
]


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell_is_what_a_shell_reads(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("block", of("json", "toml", "python"), ids=str)
def test_data_and_programs_are_what_they_say(block: Block) -> None:
    readers: dict[str, Callable[[str], object]] = {"json": json.loads, "toml": tomllib.loads, "python": ast.parse}
    readers[block.language](block.text)


def test_every_command_and_option_that_is_shown_is_there() -> None:
    reference = (DOCS / "reference" / "command-line.md").read_text("utf-8")
    known: dict[str, set[str]] = {"fidoloop": set()}
    for heading, text in re.findall(
        r"^#+ `(fidoloop[a-z0-9 -]*)`\n(.*?)(?=^#+ `|\Z)", reference, re.MULTILINE | re.DOTALL
    ):
        known[heading] = set(re.findall(r"(--[a-z][a-z0-9-]*)", text))
    seen = 0
    for block in of("sh", ""):
        for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
            for shown in re.findall(r"(?:^|[(&;] ?|\| )(fidoloop [^|&;)#]*)", line):
                words = shown.split()
                name = "fidoloop"
                for word in words[1:]:
                    if f"{name} {word}" not in known:
                        break
                    name = f"{name} {word}"
                options = {word.partition("=")[0] for word in words if word.startswith("--")}
                assert options <= known[name] | {"--version", "--help"}, f"{block}: {shown}"
                seen += 1
    assert seen > 50
