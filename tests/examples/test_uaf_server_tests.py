"""The example project, as a stranger has it: fidoloop installed from its wheel, and nothing of this repository."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from fidoloop.lab import LabServer

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "uaf-server-tests"


def output_of(command: list[str], cwd: Path, **environment: str) -> str:
    """Run a command and return what it printed. Fails the test where it failed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "FIDOLOOP_"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=inherited | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git has: building leaves files in its source."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("protocol", "hsm", "authenticator", "bridge", "server", "src", "pyproject.toml", "README.md"):
        path = ROOT / name
        if path.is_file():
            shutil.copy(path, source)
        else:
            unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(path, source / name, symlinks=True, ignore=unwanted)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    output_of([*command, "--wheel-dir", str(built), str(source)], source)
    (found,) = built.glob("fidoloop-*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel, and with the locked packages of this one."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, symlinks=True)
    interpreter = directory / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet", "--no-deps", "--no-index"]
    output_of([*pip, str(wheel)], directory)
    (packages,) = directory.glob("lib/python*/site-packages")
    # The repository itself is not among them: what makes it importable there is read in their directory only.
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return interpreter


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return shutil.copytree(EXAMPLE, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("elsewhere") / "home") as server:
        yield server


def test_the_wheel_is_what_is_tested(python: Path, tmp_path: Path) -> None:
    where = output_of([str(python), "-c", "import fidoloop; print(fidoloop.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(python.parents[1])


def test_against_the_plugins_own_server(python: Path, project: Path) -> None:
    printed = output_of([str(python), "-m", "pytest", "-p", "no:cacheprovider", "--fidoloop-require"], project)
    assert re.search(r"= 15 passed in ", printed), printed


def test_against_a_server_that_was_started_elsewhere(python: Path, project: Path, elsewhere: LabServer) -> None:
    users = ["ann", "bob", "cid", "dora", *(f"u{number}" for number in range(12))]
    for username in users:
        elsewhere.add_user(username)
    key = project / "api-key.txt"
    key.write_text(elsewhere.add_api_key("example"), encoding="utf-8")
    options = {
        "--fidoloop-server": elsewhere.url,
        "--fidoloop-ca": str(elsewhere.ca),
        "--fidoloop-api-key": str(key),
        "--fidoloop-metadata": str(elsewhere.home / "metadata"),
    }
    arguments = [part for option in options.items() for part in option]
    arguments += [part for username in users for part in ("--fidoloop-user", username)]
    printed = output_of([str(python), "-m", "pytest", "-p", "no:cacheprovider", *arguments], project)
    assert re.search(r"= 15 passed in ", printed), printed
    assert ("authentication", "ann") in elsewhere.audit()


def test_it_uses_nothing_but_what_is_public() -> None:
    for path in (EXAMPLE / "tests").glob("*.py"):
        modules = re.findall(r"^(?:from|import) (fidoloop[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(module.startswith(("fidoloop.api.", "fidoloop.testing.")) for module in modules), path
