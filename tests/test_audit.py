"""`make audit` says when it has audited nothing; what is depended on is used."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts/audit.py"
BY_UVICORN = {"uvloop", "httptools"}
GOOD: dict[str, Any] = {"name": "good", "version": "1", "vulns": []}
BAD: dict[str, Any] = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN: dict[str, Any] = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([GOOD], 0, "1 packages were looked up, 0 advisories"),
        ([GOOD, BAD], 1, "bad 2: PYSEC-1, mended in 3"),
        ([BAD, UNKNOWN], 1, "NOT AUDITED: 1 packages"),
        ([GOOD, UNKNOWN], 4, "NOT AUDITED: 1 packages that the advisory service did not answer for: unknown"),
        ([UNKNOWN, UNKNOWN], 4, "0 packages were looked up"),
        ([], 4, "0 packages were looked up"),
        (None, 4, "the advisory service was not reached"),
    ],
)
def test_what_was_not_looked_up_is_not_called_good(
    tmp_path: Path, dependencies: list[dict[str, Any]] | None, code: int, said: str
) -> None:
    report = tmp_path / "report.json"
    report.write_text("" if dependencies is None else json.dumps({"dependencies": dependencies, "fixes": []}))
    done = subprocess.run([sys.executable, str(SCRIPT), str(report)], capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout) == (code, True), done.stdout + done.stderr


def imported() -> set[str]:
    """Return the modules that the code of fidoloop imports, by their first name."""
    found: set[str] = set()
    for room in ("protocol", "hsm", "authenticator", "bridge", "server", "src/fidoloop"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {name.name.partition(".")[0] for name in node.names}
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def test_every_package_that_is_depended_on_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[<>=;\[ ]", one)[0].lower() for one in wanted}
    modules = imported()
    used = {
        distribution.lower().replace("_", "-")
        for module, distributions in packages_distributions().items()
        if module in modules
        for distribution in distributions
    }
    assert len(names) > 15
    assert names - used - BY_UVICORN == set()
