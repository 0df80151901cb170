"""What is public is typed, as a type checker sees it in somebody else's project."""

import os
import subprocess
import sys
from pathlib import Path

from tests.manual.blocks import DOCS, blocks

EXAMPLES = [block.text for block in blocks(DOCS / "library.md") if block.language == "python"]


def test_the_manuals_examples_and_the_example_project_type_check(tmp_path: Path) -> None:
    """mypy --strict on a project that only imports fidoloop: py.typed is there, and no public signature is untyped."""
    (tmp_path / "page.py").write_text("\n".join(EXAMPLES), encoding="utf-8")
    tests = sorted((DOCS.parent / "examples" / "uaf-server-tests" / "tests").glob("test_*.py"))
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from fidoloop.api.keys import open_key_store\nopen_key_store(7)\nopen_key_store('x').nothing()\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "MYPYPATH": ""}
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, "page.py", "wrong.py", *map(str, tests)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    complaints = done.stdout.splitlines()
    assert [line.partition(": ")[0] for line in complaints] == ["wrong.py:2", "wrong.py:3"], done.stdout + done.stderr
