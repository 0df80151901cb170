"""docs/library.md does what it says, and what is public says so."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fidoloop.api
import fidoloop.testing
from fidoloop.hsm.uri import parse_uri
from manual.library import MODULES
from tests.manual.blocks import DOCS, blocks

EXAMPLES = [block.text for block in blocks(DOCS / "library.md") if block.language == "python"]
TUTORIAL_TOKEN = "pkcs11:token=lab?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=123456"


def page_as_program(uri: str) -> str:
    text = "\n".join(EXAMPLES)
    assert text.count(TUTORIAL_TOKEN) == 1
    return text.replace(TUTORIAL_TOKEN, uri).replace("123456", parse_uri(uri).pin() or "")


def test_the_examples_run(fidoloop_token: str, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text(page_as_program(fidoloop_token), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "succeeded" in done.stdout.split()
    assert "alice 1" in done.stdout
    assert 'DPoP algs="ES256' in done.stdout


@pytest.mark.parametrize("package", [fidoloop.api, fidoloop.testing])
def test_every_public_module_says_what_is_public_in_it(package: object) -> None:
    name = package.__name__  # type: ignore[attr-defined]
    there = {f"{name}.{module.name}" for module in pkgutil.iter_modules(package.__path__)}  # type: ignore[attr-defined]
    for module in sorted(there):
        found = importlib.import_module(module)
        public: list[str] | None = getattr(found, "__all__", None)
        if module in MODULES:
            assert public is not None, module
            assert public == sorted(public, key=lambda one: (one.islower(), not one.isupper(), one)), module
            assert all(hasattr(found, one) for one in public)
        else:
            assert public is None, f"{module}: public names, but not on the page"
