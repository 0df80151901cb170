"""Groups that run in a process of their own: SoftHSM, p11-kit and tpm2-pkcs11 each have one configuration a process."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from bench.measure import Row


def apart(module: str, *arguments: str) -> Callable[[], list[Row]]:
    """Return a group that runs `python -m module arguments` and takes the rows it prints."""

    def run() -> list[Row]:
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return [Row(**row) for row in json.loads(done.stdout)]

    return run


def report(rows: Sequence[Row]) -> None:
    """Print rows as `apart` reads them."""
    json.dump([asdict(row) for row in rows], sys.stdout)
