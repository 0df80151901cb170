"""Several processes of one test run, on the machine of somebody who has a SoftHSM of his own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.plugin.test_options import LOG_IN


def test_runs_in_parallel_touch_nothing_of_who_runs_them(tmp_path: Path) -> None:
    """Each process has its tokens and its server; the user's SoftHSM and the temporary directory are as before."""
    own, temporary, project = tmp_path / "own", tmp_path / "tmp", tmp_path / "project"
    for directory in (own / "tokens", temporary, project):
        directory.mkdir(parents=True)
    configuration = own / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {own / 'tokens'}\n", encoding="utf-8")
    before = fingerprint(own)
    (project / "test_it.py").write_text(LOG_IN, encoding="utf-8")
    (project / "conftest.py").write_text(
        "import os\n"
        "def pytest_sessionfinish():\n"
        f"    assert os.environ['SOFTHSM2_CONF'] == {str(configuration)!r}\n"
        "    open(f'set-back-{os.getpid()}', 'w').close()\n",
        encoding="utf-8",
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env=inherited | {"SOFTHSM2_CONF": str(configuration), "TMPDIR": str(temporary)},
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert len(list(project.glob("set-back-*"))) == 3
    assert fingerprint(own) == before
    assert list(temporary.glob("fidoloop-*")) == []


def fingerprint(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in directory.rglob("*")
    }
