"""Every committed input of the fuzzer, and what once broke a target, without the fuzzer."""

import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import running
from fuzz.targets import NAMES, target

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings(
    "ignore::cryptography.utils.CryptographyDeprecationWarning", "ignore::UserWarning"
)


@pytest.mark.parametrize("name", NAMES)
def test_every_committed_input_keeps_the_properties_of_its_target(name: str) -> None:
    found = running.inputs(name)
    assert found, f"no inputs: python -m fuzz.minimise {name}"
    for path in found:
        try:
            target(name).check(path.read_bytes())
        except BaseException as error:
            error.add_note(str(path))
            raise


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_small(name: str) -> None:
    assert all(path.stat().st_size <= target(name).MAX_BYTES for path in running.inputs(name))


def test_every_target_has_its_file() -> None:
    files = {path.stem for path in (ROOT / "fuzz/targets").glob("*.py")} - {"__init__"}
    assert files == set(NAMES)


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has no wheels for "
    f"Python {sys.version_info.major}.{sys.version_info.minor} on {platform.system()} {platform.machine()}",
)
def test_the_fuzzer_finds_what_is_broken(tmp_path: Path) -> None:
    """A target whose property does not hold is told, with the input: the run ends by 1."""
    script = (
        "import fuzz.targets.forms as forms, fuzz.running, fuzz.fuzzer, sys\n"
        "forms.MAX_PARAMETERS = 0\n"
        "fuzz.fuzzer.main()\n"
    )
    seed = tmp_path / "seeds"
    seed.mkdir()
    (seed / "form").write_bytes(b"a=1&b=2")
    done = subprocess.run(
        [sys.executable, "-c", script, "forms", "-runs=20", f"-artifact_prefix={tmp_path}/", str(seed)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "AssertionError" in done.stdout
    assert list(tmp_path.glob("crash-*"))
