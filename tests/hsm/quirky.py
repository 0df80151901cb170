"""SoftHSM behind a module of the tests' own that behaves as other devices do (quirky.c)."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fidoloop.hsm.uri import parse_uri
from fidoloop.softhsm import find_softhsm_module

SOURCE = Path(__file__).with_suffix(".c")


def build(directory: Path) -> Path:
    """Compile the module into `directory` and return its file."""
    module = directory / "quirky.so"
    command = [
        "gcc",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Werror",
        "-I/usr/include/p11-kit-1",
        "-o",
        str(module),
        str(SOURCE),
    ]
    subprocess.run(command, check=True)
    return module


@dataclass(frozen=True)
class Quirky:
    """One module of a test's own, over one SoftHSM token. What it does is written in this process's environment."""

    uri: str
    directory: Path

    def become(self, *quirks: str) -> None:
        """Have these quirks from now on, and no others; words of quirky.c."""
        os.environ["QUIRKS"] = " ".join(quirks)

    def logins(self) -> list[str]:
        """Return every log-in the module has seen: who, and how it went."""
        log = self.directory / "log"
        return log.read_text().splitlines() if log.exists() else []


def quirky_module(built: Path, directory: Path, uri: str) -> Quirky:
    """Return a copy of the module for the SoftHSM token at `uri`: one process may have both, and several of each."""
    target, module = directory / "libsofthsm2.so", directory / "quirky.so"
    shutil.copy(find_softhsm_module(), target)
    shutil.copy(built, module)
    pin = parse_uri(uri).pin()
    assert pin is not None
    os.environ.update(QUIRKY_TARGET=str(target), QUIRKY_TARGET_PIN=pin, QUIRKY_PIN=pin, QUIRKS="")
    os.environ["QUIRKY_LOG"] = str(directory / "log")
    return Quirky(uri.replace(str(find_softhsm_module()), str(module)), directory)
